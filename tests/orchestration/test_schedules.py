"""The minutely schedule: never two ticks at once, never silenced by a dead run."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from quick_jobs import quick_history, quick_live

from resources.console_log import CONSOLE
from resources.run_records import delete_old_runs
from schedules.schedules import history_hourly, live_every_minute, warosu_daily

GUARDED = pytest.mark.parametrize(
    ("schedule", "job", "longest_minutes"),
    [(live_every_minute, quick_live, 11), (history_hourly, quick_history, 61)],
    ids=["live", "history"],
)


def evaluate(schedule: dg.ScheduleDefinition, instance: DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = schedule(dg.build_schedule_context(instance=instance))
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def start_run(instance: DagsterInstance, job: dg.JobDefinition, minutes_ago: float) -> str:
    run_id = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    started = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    with sqlite3.connect(Path(instance.root_directory) / "history" / "runs.db") as connection:
        connection.execute(
            "UPDATE runs SET create_timestamp = ? WHERE run_id = ?", (f"{started:%Y-%m-%d %H:%M:%S.%f}", run_id)
        )
    return run_id


@GUARDED
def test_a_tick_starts_a_run_when_none_is_at_work(
    schedule: dg.ScheduleDefinition, job: dg.JobDefinition, longest_minutes: int, instance: DagsterInstance
) -> None:
    assert isinstance(evaluate(schedule, instance), dg.RunRequest)


@GUARDED
def test_a_tick_is_skipped_while_its_predecessor_is_at_work(
    schedule: dg.ScheduleDefinition, job: dg.JobDefinition, longest_minutes: int, instance: DagsterInstance
) -> None:
    run_id = start_run(instance, job, longest_minutes - 1)
    result = evaluate(schedule, instance)
    assert isinstance(result, dg.SkipReason)
    assert run_id in str(result.skip_message)


@GUARDED
def test_a_run_left_behind_by_a_power_cut_silences_its_schedule_for_a_limited_time(
    schedule: dg.ScheduleDefinition, job: dg.JobDefinition, longest_minutes: int, instance: DagsterInstance
) -> None:
    start_run(instance, job, longest_minutes + 1)
    assert isinstance(evaluate(schedule, instance), dg.RunRequest)


@dg.asset_check(asset="made_up")
def always_fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def made_up() -> None: ...


def checked_job() -> dg.JobDefinition:
    job = dg.define_asset_job("live", dg.AssetSelection.assets(made_up))
    return dg.Definitions(assets=[made_up], asset_checks=[always_fine], jobs=[job]).resolve_job_def("live")


def check_results(instance: DagsterInstance) -> int:
    with sqlite3.connect(Path(instance.root_directory) / "history" / "runs" / "index.db") as connection:
        return int(connection.execute("SELECT count(*) FROM asset_check_executions").fetchone()[0])


def test_yesterday_from_the_archive_is_asked_for_with_the_log_of_one_line_a_warning(instance: DagsterInstance) -> None:
    at = datetime(2026, 3, 2, 6, 31, tzinfo=UTC)
    asked = warosu_daily(dg.build_schedule_context(instance=instance, scheduled_execution_time=at))
    assert isinstance(asked, dg.RunRequest)
    assert (asked.partition_key, asked.run_config) == ("2026-03-01", CONSOLE)


def test_old_runs_go_with_their_files_and_the_newest_stays(instance: DagsterInstance) -> None:
    for _ in range(5):
        assert checked_job().execute_in_process(instance=instance).success
    assert check_results(instance) == 5
    shards = Path(instance.root_directory) / "history" / "runs"
    assert len(list(shards.glob("*-*.db"))) == 5
    deleted, freed = delete_old_runs(instance, "live", timedelta(seconds=-60))
    assert deleted == 4
    assert freed > 0
    assert instance.get_runs_count() == 1
    assert check_results(instance) == 1
    assert len(list(shards.glob("*-*.db"))) == 1


def test_young_and_unfinished_runs_are_never_deleted(instance: DagsterInstance) -> None:
    assert quick_live.execute_in_process(instance=instance).success
    start_run(instance, quick_live, 100)
    assert delete_old_runs(instance, "live", timedelta(hours=1)) == (0, 0)
    assert instance.get_runs_count() == 2
