"""A job on a pod, as an asset runs it and shows it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.reporting import picture
from resources.pods import RunPodResource

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.protocol import Finished, Job
    from resources.pod_watch import PodWatch

MOST_TAIL = 4_000  # characters of a failed job's log


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
