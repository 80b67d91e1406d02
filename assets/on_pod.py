"""Runs a training on a pod within an asset, and reports its result."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.reporting import picture
from resources.console_log import PROGRESS
from resources.pods import RunPodResource

if TYPE_CHECKING:
    from bizcharts_pipeline.models.registry import Registered
    from bizcharts_pipeline.pods.protocol import Finished, Job
    from bizcharts_pipeline.training.pod_job import PodTraining
    from resources.pod_watch import PodWatch

MAX_TAIL = 4_000  # characters of a failed job's log


def on_pod(
    runpod: RunPodResource,
    training: "PodTraining[Registered]",
    watch: "PodWatch",
    run_id: str,
    checkpoint_minutes: float,
) -> "tuple[Registered, Finished]":
    """Carry out a training on a pod with a connection to this run; return the model and the pod's report.

    Raises:
        Failure: there is no result. Dagster retries only if that may help.
        TrainingError: the result could not be registered.
    """
    from bizcharts_pipeline.training.pod_job import train_on_pod

    return train_on_pod(training, lambda job, into: run_on_pod(runpod, job, watch, into, run_id, checkpoint_minutes))


def run_on_pod(
    runpod: RunPodResource, job: "Job", watch: "PodWatch", into: Path, run_id: str, checkpoint_minutes: float
) -> "Finished":
    """Run a job on a pod with a connection to this run, and put its result into the folder ``into``.

    Raises:
        Failure: there is no result. Dagster retries only if that may help.
    """
    from bizcharts_pipeline.pods.errors import PodError

    job = dataclasses.replace(job, environment={**job.environment, **watch.environment})
    try:
        return runpod.run(job, watch, into, run_id=run_id, checkpoint_minutes=checkpoint_minutes)
    except PodError as error:
        metadata: dict[str, Any] = {"error": type(error).__name__, **watch.metadata()}
        if tail := getattr(error, "log_tail", ""):
            metadata["end of the log"] = dg.MetadataValue.text(tail[-MAX_TAIL:])
        raise dg.Failure(str(error), metadata=metadata, allow_retries=error.retry) from None


@contextmanager
def stopped_for_good(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Mark an interrupted run of `bizcharts run` as cancelled: otherwise Dagster's daemon would treat it as crashed,
    restart it and rent another pod. (A run terminated in the UI counts as cancelled anyway.)"""
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
        if os.environ.get(PROGRESS):
            context.instance.report_run_canceling(
                context.run, "The run was cancelled; the termination of its pod was requested."
            )
        raise


@contextmanager
def not_retried_in_vain() -> Iterator[None]:
    """Convert errors that a retry cannot fix into a one-line failure without retries; the path of a quarantined paid
    result is shown."""
    from bizcharts_pipeline.pods.lock import JobBusy
    from bizcharts_pipeline.training.pod_job import ResultUnusable
    from bizcharts_pipeline.training.recipe import BaseMissing, TrainingError

    try:
        yield
    except BaseMissing:
        raise
    except JobBusy as busy:
        raise dg.Failure(str(busy), allow_retries=True) from None
    except TrainingError as error:
        path = (
            {"unusable_result": dg.MetadataValue.path(str(error.folder))} if isinstance(error, ResultUnusable) else {}
        )
        raise dg.Failure(str(error), metadata=path, allow_retries=False) from None


def pod_metadata(finished: "Finished", watch: "PodWatch", home: Path) -> dict[str, Any]:
    """Return cost, duration and metrics of a training, and the paid results below ``home`` that are not registered."""
    from bizcharts_pipeline.training.curve import svg_curve
    from bizcharts_pipeline.training.pod_job import unregistered_results

    left = [str(path) for path in unregistered_results(home)]

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
        **({"paid_results_not_registered": left} if left else {}),
        **watch.metadata(),
        **({"curve": picture(svg_curve(lines, "Loss"), "Loss by step")} if any(lines.values()) else {}),
    }
