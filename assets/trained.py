"""What a trained model shows in the UI, whichever way it was trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.on_pod import on_pod, pod_metadata
from assets.reporting import Stopwatch
from bizcharts_pipeline.clock import utc_now
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.training.recipe import Recipe
    from bizcharts_pipeline.training.registry import Registered
    from resources.pod_watch import PodWatch

POOL = "models"  # one training at a time: each takes all cores


def train_text_model(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    training: Training,
    kind: str,
    runpod: RunPodResource | None = None,
) -> dg.MaterializeResult:
    """Train a text model on what may be learned from, register it as a candidate and say what it is. With ``runpod``
    and the setting ``text_on_pod`` it trains on a pod.

    Where the pretrained model that it starts from is not at hand, say what is missing: who has no network or no extra
    still gets the other models.
    """
    from bizcharts_pipeline.training.recipe import BaseMissing, PodRecipe
    from bizcharts_pipeline.training.registry import train_and_register
    from bizcharts_pipeline.training.text_set import load_text_set

    stopwatch = Stopwatch()
    database, home, now = warehouse.open(), training.home_path(), utc_now()
    with stopwatch("choose posts"):
        text_set = load_text_set(database, home, now)
    try:
        with _recipe(context, training, kind, runpod) as (recipe, watch), stopwatch("train and score gold"):
            registered = train_and_register(
                recipe,
                text_set,
                database=database,
                home=home,
                seed=training.settings().ml.training.seed,
                now=now,
                run_id=context.run.run_id,
            )
    except BaseMissing as missing:
        context.log.warning(str(missing))
        return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata={"nothing_trained": str(missing)})
    finished = recipe.finished if isinstance(recipe, PodRecipe) else None
    return dg.MaterializeResult(
        data_version=dg.DataVersion(registered.model.model_version),
        metadata={
            "posts": len(text_set.examples),
            **{f"posts: {name}": count for name, count in text_set.classes.items()},
            "left_out": dict(text_set.left_out),
            **model_metadata(registered, training),
            **(pod_metadata(finished, watch) if finished and watch else {}),
            **stopwatch.metadata(),
        },
    )


@contextmanager
def _recipe(
    context: dg.AssetExecutionContext, training: Training, kind: str, runpod: RunPodResource | None
) -> "Iterator[tuple[Recipe, PodWatch | None]]":
    """Yield how a kind of model is trained, and who watches the pod, if there is one.

    Raises:
        BaseMissing: for a pod, the pretrained model is sent from here.
    """
    settings = training.settings()
    if runpod is None or not settings.ml.training.text_on_pod:
        yield training.recipes()[kind], None
        return
    from bizcharts_pipeline.training.pod_text import ON_POD
    from resources.pod_watch import watched

    minutes, run_id = settings.ml.training.checkpoint_minutes, context.run.run_id
    with watched(context) as watch:
        yield ON_POD[kind](settings, lambda job, into: on_pod(runpod, job, watch, into, run_id, minutes)), watch


def model_metadata(registered: "Registered", training: Training) -> dict[str, Any]:
    """Return what identifies a model, what it was made from, and how it does on gold."""
    model, figures = registered.model, registered.figures
    known = {
        "model_version": model.model_version,
        "dataset_version": model.dataset_version,
        "code_version": model.code_version,
        "base_model": model.base_model,
        "base_revision": model.base_revision,
        "seed": model.seed,
        "sha256": model.sha256,
        "path": model.path and dg.MetadataValue.path(str(training.home_path() / model.path)),
    }
    on_gold = (
        {
            "gold_posts": figures.n,
            "accuracy": dg.MetadataValue.float(figures.accuracy.value),
            "macro_f1": dg.MetadataValue.float(figures.macro_f1.value),
            "log_loss": dg.MetadataValue.float(figures.log_loss),
            "ece": dg.MetadataValue.float(figures.ece),
            "accuracy (95 %)": str(figures.accuracy),
            "macro_f1 (95 %)": str(figures.macro_f1),
        }
        if figures
        else {}
    )
    return {**{name: value for name, value in known.items() if value is not None}, "new": registered.new, **on_gold}
