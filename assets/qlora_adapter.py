"""An adapter for the vision-language model, trained on a rented GPU."""

import shutil

import dagster as dg

from assets.on_pod import on_pod, pod_metadata
from assets.reporting import Stopwatch
from assets.trained import model_metadata
from bizcharts_pipeline.clock import utc_now
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse

POOL = "pods"


@dg.asset(
    deps=["sharegpt_dataset"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "huggingface", "pytorch"},
    code_version="1",
    pool=POOL,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=120, backoff=dg.Backoff.EXPONENTIAL),
    description=(
        "A QLoRA adapter for `BIZCHARTS_VLM_BASE`, trained on `sharegpt_dataset` on a rented pod, within the budget of "
        "[pods]. Log and figures stream into the run; cancelling it ends the pod; what a killed run left at work, the "
        "next run takes up where it is. The pod answers the gold posts without knowing their labels. docs/runpod.md "
        "says what is billed when."
    ),
)
def qlora_adapter(
    context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training, runpod: RunPodResource
) -> dg.MaterializeResult:
    from bizcharts_pipeline.training.pod_job import qlora_job, register
    from resources.pod_watch import watched

    stopwatch = Stopwatch()
    database, home, settings = warehouse.open(), training.home_path(), training.settings()
    minutes = settings.ml.training.checkpoint_minutes
    with watched(context) as watch, qlora_job(database, home, settings) as order:
        with stopwatch("train"):
            finished = on_pod(runpod, order.job, watch, order.into, context.run.run_id, minutes)
        with stopwatch("register"):
            registered = register(order, finished, database, home, utc_now(), context.run.run_id)
    shutil.rmtree(finished.folder)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(registered.model.model_version),
        metadata={
            "gold_posts_asked": len(order.asked),
            **model_metadata(registered, training),
            **pod_metadata(finished, watch),
            **stopwatch.metadata(),
        },
    )
