"""What is looked after while pods are rented."""

import time

import dagster as dg

from bizcharts_pipeline.core.clock import to_epoch
from resources.pods import RunPodResource

REAP_SECONDS = 300
TICK_SECONDS = 40.0  # Dagster gives a sensor 60


@dg.sensor(
    minimum_interval_seconds=REAP_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Ends pods that this installation rented, from whichever provider, and that no run looks after. The pod of a "
        "run that crashed is left alone for as long as its lease, so that the next run can take it up. Asks nobody "
        "where there is no key and the ledger knows of no pod."
    ),
)
def pods_reaped(context: dg.SensorEvaluationContext, runpod: RunPodResource) -> dg.SkipReason:
    def is_running(run_id: str) -> bool:
        record = context.instance.get_run_record_by_id(run_id)
        if record is None:
            return False
        crashed = record.dagster_run.status is dg.DagsterRunStatus.FAILURE
        # Dagster notes the end by the wall clock. If that was set since, the earlier of both clocks leaves the pod
        # alone for longer; the pod ends itself after its lease anyway.
        now = min(time.time(), to_epoch(runpod.clock()()))
        recently = (record.end_time or 0) > now - runpod.settings().pods.lease_minutes * 60
        return not record.dagster_run.is_finished or (crashed and recently)

    report = runpod.reap(is_running, TICK_SECONDS)
    if report is None:
        return dg.SkipReason("no key, and no pod in the ledger")
    if report.failed:
        raise dg.Failure("; ".join(report.failed))
    said = f"ended {', '.join(report.ended) or 'none'}; at work: {', '.join(report.running) or 'none'}"
    return dg.SkipReason("; ".join([said, *report.waiting]))
