"""An adapter for the vision-language model, trained on a rented GPU."""

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.reporting import Stopwatch, picture
from assets.trained import model_metadata
from bizcharts_pipeline.clock import utc_now
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.protocol import Finished, Job
    from resources.pod_watch import PodWatch

POOL = "pods"
MOST_TAIL = 4_000  # characters of a failed job's log


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


def on_pod(
    runpod: RunPodResource, job: "Job", watch: "PodWatch", into: Path, run_id: str, checkpoint_minutes: float
) -> "Finished":
    """Run a job on a pod, with what it needs to speak to this run.

    Raises:
        Failure: there is no result. Dagster tries again only where that may help.
    """
    from bizcharts_pipeline.pods.errors import PodError

    job = dataclasses.replace(job, environment={**job.environment, **watch.environment})
    try:
        return runpod.run(job, watch, into, run_id=run_id, checkpoint_minutes=checkpoint_minutes)
    except PodError as error:
        metadata: dict[str, Any] = {"error": type(error).__name__, **watch.metadata()}
        if tail := getattr(error, "log_tail", ""):
            metadata["end of the log"] = dg.MetadataValue.text(tail[-MOST_TAIL:])
        raise dg.Failure(str(error), metadata=metadata, allow_retries=error.retry) from None


def pod_metadata(finished: "Finished", watch: "PodWatch") -> dict[str, Any]:
    """Return what a training took and how it went."""
    from bizcharts_pipeline.training.curve import svg_curve

    lines = {
        name: [(float(step), figures[name]) for step, figures in sorted(watch.metrics.items()) if name in figures]
        for name in ("loss", "validation nll")
    }
    return {
        "usd": dg.MetadataValue.float(float(finished.usd)),
        "seconds_on_pods": dg.MetadataValue.float(finished.seconds),
        "pods": finished.pods,
        "reattached": finished.reattached,
        **({"gpu": finished.gpu} if finished.gpu else {}),
        **watch.metadata(),
        **({"curve": picture(svg_curve(lines, "Loss"), "Loss by step")} if any(lines.values()) else {}),
    }
