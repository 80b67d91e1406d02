"""Schedules of the jobs. Times are UTC."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg

from assets.catalog_snapshot import UNREACHABLE
from jobs.collection import (
    PRICES_MAX_RUNTIME_SECONDS,
    THUMBNAILS_MAX_RUNTIME_SECONDS,
    fetch_prices,
    fetch_reference_index,
    fetch_thumbnails,
)
from jobs.exports import export_index
from jobs.labelling import COLLECTION_MAX_RUNTIME_SECONDS, collect_auto_labels
from jobs.live import HISTORY_MAX_RUNTIME_SECONDS, LIVE_MAX_RUNTIME_SECONDS, history, live
from jobs.maintenance import maintenance
from resources.auto_labelling import AutoLabelling
from resources.console_log import CONSOLE

MAX_PAUSE_MINUTES = 5
PAUSE_RUNS = 4  # number of runs checked: enough to double the pause up to its maximum
EARLIER = timedelta(seconds=15)  # a run is created some seconds after its minute
MONITORING_SECONDS = 60  # until run monitoring has detected it
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def unless_at_work(
    context: dg.ScheduleEvaluationContext | dg.SensorEvaluationContext,
    job_name: str,
    max_runtime_seconds: int,
    tags: dict[str, str],
) -> dg.RunRequest | dg.SkipReason:
    """Request a run of the job, unless an active run may still be alive.

    A run whose machine lost power stays STARTED until the sensor `dead_runs` or, if it has no lock yet, run monitoring
    at the job's maximum run time marks it as failed. The limited look-back prevents a dead run from silencing the
    schedule even if nothing ever marks it.
    """
    young = datetime.now(UTC) - timedelta(seconds=max_runtime_seconds + MONITORING_SECONDS)
    runs = context.instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED, created_after=young), limit=1
    )
    if runs:
        return dg.SkipReason(f"run {runs[0].dagster_run.run_id} is still active")
    return dg.RunRequest(tags=tags)


def unreachable_pause(instance: dg.DagsterInstance, now: datetime) -> dg.SkipReason | None:
    """Return the reason for skipping a run while the board is unreachable; ``None`` if one is due. ``now`` is in UTC.

    After each consecutive run without a response, or with a wrong clock, the pause doubles. Other failed runs do not
    count, as they may have spooled a poll; nor do runs dated in the future because the clock was set back.
    """
    since = now - timedelta(minutes=(MAX_PAUSE_MINUTES + 5) * PAUSE_RUNS)
    records = instance.get_run_records(dg.RunsFilter(job_name=live.name, created_after=since), limit=PAUSE_RUNS)
    records = [record for record in records if record.create_timestamp <= now + EARLIER]
    failed = [*takewhile(lambda record: record.dagster_run.tags.get(UNREACHABLE), records)]
    if not failed:
        return None
    pause = timedelta(minutes=min(2 ** (len(failed) - 1), MAX_PAUSE_MINUTES))
    due = failed[0].create_timestamp + pause - EARLIER
    return (
        dg.SkipReason(f"the board cannot be reached, or the clock is wrong; next try {due:%H:%M} UTC")
        if now < due
        else None
    )


@dg.schedule(
    job=live,
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "A tick every minute, skipped while the previous one is still active. While the board cannot be "
        f"reached, the pauses grow to {MAX_PAUSE_MINUTES} minutes."
    ),
)
def live_every_minute(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if pause := unreachable_pause(context.instance, datetime.now(UTC)):
        return pause
    return unless_at_work(context, live.name, LIVE_MAX_RUNTIME_SECONDS, {"dagster/priority": "10"})


@dg.schedule(
    job=history,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Scores and indexes posts from imports and backfills.",
)
def history_hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return unless_at_work(context, history.name, HISTORY_MAX_RUNTIME_SECONDS, {})


@dg.schedule(
    job=fetch_thumbnails,
    cron_schedule="2-59/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Fetches waiting pictures, and purges those of deleted posts.",
)
def thumbnails_every_5_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return unless_at_work(context, fetch_thumbnails.name, THUMBNAILS_MAX_RUNTIME_SECONDS, {})


@dg.schedule(
    job=fetch_prices,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Fetches prices from the first source with remaining budget.",
)
def prices_every_5_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return unless_at_work(context, fetch_prices.name, PRICES_MAX_RUNTIME_SECONDS, {})


reference_index_daily = dg.ScheduleDefinition(
    name="reference_index_daily",
    job=fetch_reference_index,
    cron_schedule="21 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Fetches alternative.me's index of the day, for comparison.",
)


@dg.schedule(
    name="warosu_daily",
    target=dg.AssetSelection.assets("warosu_posts"),
    cron_schedule="31 6,18 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Imports yesterday from the archive, some hours after its end. The day's second run finds it complete, or "
        "retries it if the archive was incomplete."
    ),
)
def warosu_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    yesterday = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.isoformat(), run_config=CONSOLE)


index_exports_daily = dg.ScheduleDefinition(
    name="index_exports_daily",
    job=export_index,
    cron_schedule="27 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Writes the index and the coins as files, some minutes after the day's last hour is final.",
)

maintenance_daily = dg.ScheduleDefinition(
    name="maintenance_daily",
    job=maintenance,
    cron_schedule="43 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes data past its retention period, and frees its space.",
)


@dg.schedule(
    job=collect_auto_labels,
    cron_schedule="4-59/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Collects the answers of paid models' batches. Sends no paid request.",
)
def auto_label_batches_every_15_minutes(
    context: dg.ScheduleEvaluationContext, auto_labelling: AutoLabelling
) -> dg.RunRequest | dg.SkipReason:
    if not auto_labelling.batches_under_way():
        return dg.SkipReason("no batch is running")
    return unless_at_work(context, collect_auto_labels.name, COLLECTION_MAX_RUNTIME_SECONDS, {})
