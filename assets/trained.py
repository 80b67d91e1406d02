"""What a trained model shows in the UI, whichever way it was trained."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.reporting import Stopwatch
from bizcharts_pipeline.clock import utc_now
from resources.training import Training
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.training.recipe import Recipe
    from bizcharts_pipeline.training.registry import Registered

POOL = "models"  # one training at a time: each takes all cores


def train_text_model(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, recipe: "Recipe"
) -> dg.MaterializeResult:
    """Train a text model on what may be learned from, register it as a candidate and say what it is.

    Where the pretrained model that it starts from is not at hand, say what is missing: who has no network or no extra
    still gets the other models.
    """
    from bizcharts_pipeline.training.recipe import BaseMissing
    from bizcharts_pipeline.training.registry import train_and_register
    from bizcharts_pipeline.training.text_set import load_text_set

    stopwatch = Stopwatch()
    database, home, now = warehouse.open(), training.home_path(), utc_now()
    with stopwatch("choose posts"):
        text_set = load_text_set(database, home, now)
    try:
        with stopwatch("train and score gold"):
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
    return dg.MaterializeResult(
        data_version=dg.DataVersion(registered.model.model_version),
        metadata={
            "posts": len(text_set.examples),
            **{f"posts: {name}": count for name, count in text_set.classes.items()},
            "left_out": dict(text_set.left_out),
            **model_metadata(registered, training),
            **stopwatch.metadata(),
        },
    )


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
