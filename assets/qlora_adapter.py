"""Adapter for the vision-language model, trained on a rented GPU."""

import dagster as dg

from assets.on_pod import not_retried_in_vain, on_pod, pod_metadata, stopped_for_good
from assets.reporting import Stopwatch, by_thread
from assets.retries import with_retries
from assets.trained import model_metadata
from bizcharts_pipeline.core.clock import utc_now
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse

POOL = "pods"
RETRY_SECONDS = (120, 240)  # before each retry


@dg.asset(
    deps=["sharegpt_dataset"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "huggingface", "pytorch"},
    code_version="1",
    pool=POOL,
    description=(
        "A QLoRA adapter for `BIZCHARTS_VLM_BASE`, trained on `sharegpt_dataset` on a rented pod, within the budget of "
        "[pods]. Log and metrics stream into the run; cancelling it terminates the pod; the next run re-attaches to "
        "the pod of a killed run. The pod classifies the gold posts without their labels. Data that the training "
        "script would refuse is refused before a pod is rented. docs/runpod.md explains the billing."
    ),
)
def qlora_adapter(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
) -> dg.MaterializeResult:
    with stopped_for_good(context):
        return with_retries(lambda: _train(context, warehouse, training, runpod), RETRY_SECONDS, context.log.warning)


def _train(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
) -> dg.MaterializeResult:
    """Train the adapter once, from the data set to the registered model."""
    from bizcharts_pipeline.models.pod_results import registered_as_adapter
    from bizcharts_pipeline.training.qlora_job import qlora_training
    from resources.pod_watch import watched

    stopwatch = Stopwatch()
    database, home, settings = warehouse.open(), training.home_path(), training.settings()
    minutes, run_id = settings.ml.training.checkpoint_minutes, context.run.run_id
    with (
        not_retried_in_vain(),
        watched(context) as watch,
        stopwatch("check, train and register"),
        qlora_training(database, home, settings) as order,
    ):
        plan = registered_as_adapter(order, database, home, utc_now(), run_id)
        registered, finished = on_pod(runpod, plan, watch, run_id, minutes)
    gold = order.gold
    return dg.MaterializeResult(
        data_version=dg.DataVersion(registered.model.model_version),
        metadata={
            "starts_from": order.start,
            "gold_posts_asked": len(gold.asked),
            **({"gold_posts_asked_by_text_alone": by_thread(gold.by_text_alone)} if gold.by_text_alone else {}),
            **({"gold_posts_not_asked": by_thread(gold.not_asked)} if gold.not_asked else {}),
            **model_metadata(registered, training),
            **pod_metadata(finished, watch, home),
            **stopwatch.metadata(),
        },
    )
