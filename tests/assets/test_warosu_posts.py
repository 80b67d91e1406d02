"""The asset of the archive's days as Dagster runs it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation

from bizcharts_pipeline.definitions import code_location
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.settings import load_settings

START = datetime(2025, 10, 28)
NOW = START + timedelta(days=8, hours=5)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, 9, threads_per_day=60)


@pytest.fixture
def archive(world: World) -> Iterator[SimulatedArchive]:
    with SimulatedArchive(world, now=NOW) as archive:
        yield archive


@pytest.fixture
def installation(archive: SimulatedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    extra = {
        "BIZCHARTS_WAROSU_URL": archive.url,
        "BIZCHARTS_WAROSU_IMAGE_URL": archive.url,
        "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0",
        "BIZCHARTS_ARCHIVE_START": f"{START:%Y-%m-%d}",
    }
    installation = Installation(tmp_path, archive.url, extra=extra)
    for name, value in installation.environment(NOW).items():
        monkeypatch.setenv(name, value)
    return installation


def run(instance: dg.DagsterInstance, first: datetime, last: datetime) -> dg.ExecuteInProcessResult:
    """One run of a backfill over the days from ``first`` to ``last``."""
    tags = {
        "dagster/asset_partition_range_start": f"{first:%Y-%m-%d}",
        "dagster/asset_partition_range_end": f"{last:%Y-%m-%d}",
    }
    defs = code_location(load_settings())
    job = dg.define_asset_job("days", selection=dg.AssetSelection.assets("warosu_posts"))
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    return merged.resolve_job_def("days").execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def materialized(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey("warosu_posts")))


@pytest.mark.slow
def test_each_day_is_shown_when_it_is_stored_and_the_checks_are_made_in_the_same_run(
    installation: Installation, archive: SimulatedArchive
) -> None:
    with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        result = run(instance, START + DAY, START + 3 * DAY)
        assert result.success
        assert materialized(instance) == {f"{START + number * DAY:%Y-%m-%d}" for number in (1, 2, 3)}
        events = [event for event in result.all_events if event.is_step_materialization]
        assert len(events) == 3
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert set(checks) == {"live_and_archive_agree", "no_day_is_missing"}
        assert all(check.passed for check in checks.values())
        assert "calendar" in checks["no_day_is_missing"].metadata
    truth = {number for days in (1, 2, 3) for number in archive.ops_of_day((START + days * DAY).date())}
    assert {row[0] for row in installation.query("SELECT thread_id FROM thread_ops")} == truth


@pytest.mark.slow
def test_a_day_that_fails_costs_only_itself_and_says_why(installation: Installation, archive: SimulatedArchive) -> None:
    with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        archive.fail_next(*[Fault.NEW_LAYOUT] * 3)  # the first answers the check of the clock
        result = run(instance, START + DAY, START + 3 * DAY)
        assert not result.success
        assert materialized(instance) == {f"{START + number * DAY:%Y-%m-%d}" for number in (2, 3)}
        (failure,) = result.get_step_failure_events()
        assert "1 of 3 days failed" in str(failure.event_specific_data)
        assert run(instance, START + DAY, START + 3 * DAY).success
        assert f"{START + DAY:%Y-%m-%d}" in materialized(instance)


@pytest.mark.slow
def test_a_block_stops_the_run_and_keeps_what_was_done(installation: Installation, archive: SimulatedArchive) -> None:
    with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        assert run(instance, START + DAY, START + DAY).success
        archive.fail_every, archive.fail_with = 1, Fault.CLOUDFLARE_BLOCK
        asked = len(archive.requests)
        result = run(instance, START + DAY, START + 6 * DAY)
        assert not result.success
        assert len(archive.requests) - asked == 6  # of the first day that is not complete; the others are not tried
        (failure,) = result.get_step_failure_events()
        assert "ArchiveBlocked" in str(failure.event_specific_data)
        assert materialized(instance) == {f"{START + DAY:%Y-%m-%d}"}
