"""Sensor that terminates abandoned pods, and endpoints that nothing asked for."""

import time

import dagster as dg

from bizcharts_pipeline.core.clock import to_epoch
from resources.pods import RunPodResource

REAP_SECONDS = 300
TICK_SECONDS = 40.0  # Dagster's limit for a sensor is 60


@dg.sensor(
    minimum_interval_seconds=REAP_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Terminates pods that this installation rented, from any provider, and that no run manages, and its serverless "
        "endpoints that are not deployed according to the ledger. The pod of a "
        "crashed run is kept until its lease ends, so that the next run can re-attach to it. Sends no request "
        "without a key if the ledger has no live pod."
    ),
)
def pods_reaped(context: dg.SensorEvaluationContext, runpod: RunPodResource) -> dg.SkipReason:
    def is_running(run_id: str) -> bool:
        record = context.instance.get_run_record_by_id(run_id)
        if record is None:
            return False
        crashed = record.dagster_run.status is dg.DagsterRunStatus.FAILURE
        # Dagster records the end by the wall clock. If that was set since, the earlier of both clocks keeps the pod
        # longer; the pod terminates itself after its lease anyway.
        now = min(time.time(), to_epoch(runpod.clock()()))
        recently = (record.end_time or 0) > now - runpod.settings().pods.lease_minutes * 60
        return not record.dagster_run.is_finished or (crashed and recently)

    report = runpod.reap(is_running, TICK_SECONDS)
    if report is None:
        return dg.SkipReason("no key, and no pod in the ledger")
    if report.failed:
        raise dg.Failure("; ".join(report.failed))
    said = f"terminated {', '.join(report.ended) or 'none'}; running: {', '.join(report.running) or 'none'}"
    return dg.SkipReason("; ".join([said, *report.waiting]))
