"""When the jobs run. Times are UTC."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from jobs.live import LIVE_MAX_RUNTIME_SECONDS, history, live
from jobs.maintenance import maintenance

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def unfinished_run(instance: dg.DagsterInstance, job_name: str, younger_than: timedelta) -> str | None:
    """Return the id of an unfinished run of the job, if there is one that can still be alive.

    A run whose machine lost power stays STARTED for ever; looking at young runs alone keeps it from silencing the
    schedule until run monitoring has declared it dead.
    """
    runs = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED, created_after=datetime.now(UTC) - younger_than),
        limit=1,
    )
    return runs[0].dagster_run.run_id if runs else None


@dg.schedule(
    job=live,
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A tick every minute; a minute whose predecessor is still at work is skipped.",
)
def live_every_minute(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    busy = unfinished_run(context.instance, live.name, timedelta(seconds=LIVE_MAX_RUNTIME_SECONDS + 60))
    if busy:
        return dg.SkipReason(f"run {busy} is still at work")
    return dg.RunRequest(tags={"dagster/priority": "10"})


@dg.schedule(
    job=history,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Scores and indexes what imports and backfills left behind.",
)
def history_hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    busy = unfinished_run(context.instance, history.name, timedelta(hours=6))
    return dg.SkipReason(f"run {busy} is still at work") if busy else dg.RunRequest()


maintenance_daily = dg.ScheduleDefinition(
    name="maintenance_daily",
    job=maintenance,
    cron_schedule="43 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes the records of old minutely runs.",
)
