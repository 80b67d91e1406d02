"""What is looked after while pods are rented."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from resources.pods import RunPodResource

REAP_SECONDS = 300


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
    crashed_since = datetime.now(UTC) - timedelta(minutes=runpod.lease_minutes)

    def is_running(run_id: str) -> bool:
        record = context.instance.get_run_record_by_id(run_id)
        if record is None:
            return False
        crashed = record.dagster_run.status is dg.DagsterRunStatus.FAILURE
        return not record.dagster_run.is_finished or (crashed and (record.end_time or 0) > crashed_since.timestamp())

    report = runpod.reap(is_running)
    if report is None:
        return dg.SkipReason("no key, and no pod in the ledger")
    if report.failed:
        raise dg.Failure("; ".join(report.failed))
    return dg.SkipReason(f"ended {', '.join(report.ended) or 'none'}; at work: {', '.join(report.running) or 'none'}")
