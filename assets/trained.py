"""Trains the text models for their assets, and reports the result in the UI."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.on_pod import not_retried_in_vain, on_pod, pod_metadata, stopped_for_good
from assets.reporting import Stopwatch
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.database import Database
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.models.registry import Registered
    from bizcharts_pipeline.training.text_set import TextSet

POOL = "models"  # one training at a time, as each uses all cores


def train_text_model(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    training: Training,
    kind: str,
    runpod: RunPodResource,
) -> dg.MaterializeResult:
    """Train a text model, register it as a candidate and report it. It trains on a pod if its kind has a script for
    that and ``text_on_pod`` is set.

    If the pretrained base model is missing, or too few posts, or none, are labelled and have pictures for a model that
    reads them, report that without failing: the other models can be trained, or say what they need.
    """
    from bizcharts_pipeline.sentiment.loading import WITH_PICTURES
    from bizcharts_pipeline.training.recipe import BaseMissing, TooFewPictures
    from bizcharts_pipeline.training.text_pod_job import SCRIPTS
    from bizcharts_pipeline.training.text_set import NothingToLearn, load_text_set

    stopwatch = Stopwatch()
    home, now = training.home_path(), utc_now()
    database = warehouse.open_at(now)
    elsewhere = kind in SCRIPTS and training.settings().ml.training.text_on_pod
    missing_data = (NothingToLearn, TooFewPictures) if kind in WITH_PICTURES else ()
    try:
        with stopwatch("choose posts"):
            pseudo = {} if elsewhere else training.pseudo_labels(database)
            text_set = load_text_set(database, home, now, pseudo=pseudo)
        with stopwatch("train and score gold"):
            if elsewhere:
                registered, of_pod = _train_on_pod(context, database, training, kind, text_set, runpod, now)
            else:
                registered, of_pod = _train_here(context, database, training, kind, text_set, now), {}
    except (BaseMissing, *missing_data) as missing:
        context.log.warning(str(missing))
        return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata={"nothing_trained": str(missing)})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(registered.model.model_version),
        metadata={
            "posts": len(text_set.examples) - text_set.pseudo_labels,
            **({"pseudo_labels": text_set.pseudo_labels} if text_set.pseudo_labels else {}),
            **{f"posts: {name}": count for name, count in text_set.classes.items()},
            "left_out": dict(text_set.left_out),
            **model_metadata(registered, training),
            **_pool_metadata(registered, training),
            **of_pod,
            **stopwatch.metadata(),
        },
    )


def _pool_metadata(registered: "Registered", training: Training) -> dict[str, Any]:
    """Return how a model pools its parts, and why; nothing for a model without parts."""
    if registered.model.kind != "fusion" or registered.model.path is None:
        return {}
    from bizcharts_pipeline.sentiment.fusion import PARTS, FusionModel

    pool = FusionModel.load(training.home_path() / registered.model.path).pool
    return {
        "weights": ", ".join(f"{part} {weight:.2f}" for part, weight in zip(PARTS, pool.weights, strict=True)),
        "ironic_texts_inverted": pool.inverts,
        "chosen_out_of_fold": dg.MetadataValue.json(dict(pool.why)),
    }


def _train_here(
    context: dg.AssetExecutionContext,
    database: Database,
    training: Training,
    kind: str,
    text_set: "TextSet",
    now: datetime,
) -> "Registered":
    from bizcharts_pipeline.models.registry import train_and_register

    return train_and_register(
        training.recipes(database)[kind],
        text_set,
        database=database,
        home=training.home_path(),
        seed=training.settings().ml.training.seed,
        now=now,
        run_id=context.run.run_id,
    )


def _train_on_pod(
    context: dg.AssetExecutionContext,
    database: Database,
    training: Training,
    kind: str,
    text_set: "TextSet",
    runpod: RunPodResource,
    now: datetime,
) -> "tuple[Registered, dict[str, Any]]":
    """Return the registered model and its pod's report.

    Raises:
        BaseMissing: the pretrained model, which is sent from this machine, is missing.
        Failure: there is no model.
    """
    from bizcharts_pipeline.models.pod_results import registered_as_text_model
    from bizcharts_pipeline.training.text_pod_job import SCRIPTS, text_training
    from resources.pod_watch import watched

    settings, run_id = training.settings(), context.run.run_id
    with stopped_for_good(context), not_retried_in_vain(), watched(context) as watch:
        script = SCRIPTS[kind](settings)
        with text_training(script, text_set, settings) as order:
            minutes = settings.ml.training.checkpoint_minutes
            plan = registered_as_text_model(order, database, training.home_path(), now, run_id)
            registered, finished = on_pod(runpod, plan, watch, run_id, minutes)
    return registered, pod_metadata(finished, watch, training.home_path())


def model_metadata(registered: "Registered", training: Training) -> dict[str, Any]:
    """Return a model's identity, its origin, and its metrics on gold."""
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
