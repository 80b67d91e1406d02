"""The minutely schedule: never two ticks at once, never silenced by a dead run."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from resources.run_records import delete_old_runs
from schedules.schedules import live_every_minute, unfinished_run


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@dg.op
def nothing() -> None: ...


@dg.job(name="live")
def quick_job() -> None:
    nothing()


def started_run(instance: DagsterInstance) -> str:
    return instance.create_run_for_job(quick_job, status=dg.DagsterRunStatus.STARTED).run_id


def evaluate(instance: DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = live_every_minute(dg.build_schedule_context(instance=instance))
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def test_a_tick_starts_a_run_when_none_is_at_work(instance: DagsterInstance) -> None:
    assert isinstance(evaluate(instance), dg.RunRequest)


def test_a_tick_is_skipped_while_its_predecessor_is_at_work(instance: DagsterInstance) -> None:
    run_id = started_run(instance)
    result = evaluate(instance)
    assert isinstance(result, dg.SkipReason)
    assert run_id in str(result.skip_message)


def test_a_run_left_behind_by_a_power_cut_silences_the_schedule_for_a_limited_time(
    instance: DagsterInstance,
) -> None:
    started_run(instance)
    assert unfinished_run(instance, "live", timedelta(seconds=0)) is None


def test_old_runs_go_with_their_files_and_the_newest_stays(instance: DagsterInstance) -> None:
    for _ in range(5):
        assert quick_job.execute_in_process(instance=instance).success
    shards = Path(instance.root_directory) / "history" / "runs"
    assert len(list(shards.glob("*-*.db"))) == 5
    deleted, freed = delete_old_runs(instance, "live", timedelta(seconds=-60))
    assert deleted == 4
    assert freed > 0
    assert instance.get_runs_count() == 1
    assert len(list(shards.glob("*-*.db"))) == 1


def test_young_and_unfinished_runs_are_never_deleted(instance: DagsterInstance) -> None:
    assert quick_job.execute_in_process(instance=instance).success
    started_run(instance)
    assert delete_old_runs(instance, "live", timedelta(hours=1)) == (0, 0)
    assert instance.get_runs_count() == 2
