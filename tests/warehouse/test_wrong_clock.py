"""A clock that is ahead or behind writes nothing, deletes nothing, and is healed."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    TickData,
    TickStatus,
)
from installation import Installation
from quick_jobs import quick_live

from assets.catalog_snapshot import UNREACHABLE
from bizcharts_pipeline.board.client import FourchanClient
from bizcharts_pipeline.board.ingest import drain_spool, poll_catalog
from bizcharts_pipeline.board.spool import Poll
from bizcharts_pipeline.core.clock import ClockDisagrees
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline
from bizcharts_pipeline.service.scheduler_records import forget_future
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.misdated import repair
from schedules.schedules import unreachable_pause

NOW = datetime(2026, 3, 2, 12, 0)
OFFLINE = "http://127.0.0.1:9"
SEED = random.Random(13)
YEARS = 10 * 365
# A little more than a day to ten years, ahead and behind.
CLOCKS = [timedelta(days=days) for days in (1.05, -1.05, SEED.uniform(2, 40), 400, -YEARS)]


@pytest.fixture(scope="module")
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 30), now=NOW) as board:
        yield board


@pytest.fixture(scope="module")
def polled(board: SimulatedBoard, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that has polled for two hours; it is only copied."""
    made = Installation(tmp_path_factory.mktemp("polled"), board.url)
    made.extra.update({"BIZCHARTS_SETTINGS_FILE": "/dev/null", "BIZCHARTS_ENV_FILE": "/dev/null"})
    made.extra.update({"BIZCHARTS_WAROSU_URL": OFFLINE, "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0"})
    for hours in (-2, -1, 0):
        board.now = NOW + timedelta(hours=hours)
        done = made.run_here("poll", "--once", now=board.now)
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def installation(polled: Installation, board: SimulatedBoard, tmp_path: Path) -> Installation:
    board.now = NOW
    shutil.copytree(polled.folder, tmp_path, dirs_exist_ok=True)
    return replace(polled, folder=tmp_path, extra=dict(polled.extra))


def everything(installation: Installation) -> tuple[str, list[str]]:
    """A digest of all rows, and the polls that wait."""
    tables = [name for (name,) in installation.query("SELECT table_name FROM duckdb_tables() ORDER BY 1")]
    rows = [installation.query(f"SELECT * FROM {table} ORDER BY ALL") for table in tables]
    spool = [str(path) for path in (installation.home / "spool").rglob("*.poll.gz")]
    return hashlib.sha256(repr(rows).encode()).hexdigest(), spool


def without_date(
    poll_catalog: Callable[[FourchanClient, datetime], Poll],
) -> Callable[[FourchanClient, datetime], Poll]:
    """The same request, answered without a Date."""
    return lambda client, now: replace(poll_catalog(client, now), served_at=None)


@pytest.mark.slow
@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
@pytest.mark.fault("clock jump", stage="poll", expected="refused; nothing is written or deleted")
@pytest.mark.fault("clock jump", stage="maintenance", expected="refused; nothing is written or deleted")
def test_a_wrong_clock_writes_and_deletes_nothing(installation: Installation, online: bool) -> None:
    before = everything(installation)
    if not online:
        installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = OFFLINE
    for off in CLOCKS:
        for words in (["maintain"], ["poll", "--once"], ["import", "--pages", "1"]):
            refused = installation.run_here(*words, now=NOW + off)
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), (words, off, refused)
            polls_offline = not online and words[0] == "poll"
            assert polls_offline or "clock says" in refused.stderr, (words, off, refused.stderr)
    assert everything(installation) == before


@pytest.mark.slow
def test_the_jobs_refuse_a_wrong_clock_and_keep_dagsters_records(installation: Installation) -> None:
    before = everything(installation)
    for job, off in (("maintenance", 400), ("history", 30), ("live", -YEARS)):
        assert "clock says" in installation.run_job(job, NOW + timedelta(days=off), fails=True)
    installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = OFFLINE
    assert "no source responds" in installation.run_job("history", NOW + timedelta(days=30), fails=True)
    assert everything(installation) == before


def test_a_wrong_clock_is_refused_before_the_first_row_where_a_source_answers(
    board: SimulatedBoard, tmp_path: Path
) -> None:
    board.now = NOW
    made = Installation(tmp_path, board.url, extra={"BIZCHARTS_WAROSU_URL": OFFLINE})
    refused = made.run_here("import", "--pages", "1", now=NOW + timedelta(days=400))
    assert (refused.returncode, refused.stderr.count("clock says")) == (1, 1), refused
    assert made.query("SELECT count(*) FROM thread_ops") == [(0,)]


@pytest.mark.slow
def test_a_machine_that_was_off_for_weeks_goes_on(installation: Installation, board: SimulatedBoard) -> None:
    board.now = NOW + timedelta(days=20)
    assert installation.run_here("maintain", now=board.now).returncode == 0
    polled = installation.run_here("poll", "--once", now=board.now)
    assert polled.returncode == 0, polled.stderr


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-14, -2, 2, 14])
def test_a_clock_in_another_time_zone_is_refused_where_a_source_answers(
    installation: Installation, board: SimulatedBoard, hours: int
) -> None:
    before = everything(installation)
    for words in (["poll", "--once"], ["maintain"]):
        refused = installation.run_here(*words, now=NOW + timedelta(hours=hours))
        assert (refused.returncode, refused.stderr.count("clock says")) == (1, 1), refused
    assert "clock says" in installation.run_job("history", NOW + timedelta(hours=hours), fails=True)
    assert everything(installation) == before


def test_a_board_that_tells_no_time_does_not_confirm_a_wrong_clock(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(installation)
    monkeypatch.setattr(FourchanClient, "poll_catalog", without_date(FourchanClient.poll_catalog))
    for off in (timedelta(days=400), timedelta(days=-YEARS)):
        refused = installation.run_here("poll", "--once", now=NOW + off)
        assert (refused.returncode, refused.stderr.count("clock says")) == (1, 1), refused
    assert everything(installation) == before
    assert installation.run_here("poll", "--once", now=NOW + timedelta(hours=1)).returncode == 0


def test_less_than_a_day_needs_no_source(installation: Installation) -> None:
    installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = OFFLINE
    for hours in (-20, 20):
        assert installation.run_here("maintain", now=NOW + timedelta(hours=hours)).returncode == 0


def test_a_poll_that_a_wrong_clock_left_in_the_spool_is_set_aside(
    installation: Installation, board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment(NOW).items():
        monkeypatch.setenv(name, value)
    pipeline = LivePipeline.from_settings(load_settings())
    for off in (timedelta(days=30), timedelta(days=-30)):
        poll = replace(pipeline.client.poll_catalog(NOW), fetched_at=NOW + off, status=200, last_modified=NOW)
        pipeline.spool.put(poll)
    board.now = NOW + timedelta(minutes=1)
    poll_catalog(pipeline.client, pipeline.spool, pipeline.database, board.now)
    assert not pipeline.spool.pending()
    assert len(list((pipeline.spool.folder / "rejected").glob("*.poll.gz"))) == 2
    polls = installation.query(
        "SELECT count(*), max(snapshot_at) - min(snapshot_at) < INTERVAL 1 DAY FROM catalog_snapshots"
    )
    assert polls == [(4, True)]


@pytest.mark.slow
def test_rows_of_the_future_are_repaired(
    installation: Installation, board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a version without a check took in, and those of a source that was ahead together with the clock."""
    future = NOW + timedelta(days=10)
    for name, value in installation.environment(NOW).items():
        monkeypatch.setenv(name, value)
    pipeline = LivePipeline.from_settings(load_settings())
    pipeline.client.forget()
    pipeline.spool.put(replace(pipeline.client.poll_catalog(NOW), fetched_at=NOW + timedelta(days=5)))
    drain_spool(pipeline.client, pipeline.spool, pipeline.database)
    board.now = future
    assert installation.run_here("poll", "--once", now=future).returncode == 0
    board.now = now = NOW + timedelta(hours=1)
    assert installation.run_here("poll", "--once", now=now).returncode == 0
    refused = installation.run_here("maintain", now=now)
    assert (refused.returncode, "bizcharts repair-clock" in refused.stderr) == (1, True)
    assert installation.run_here("repair-clock", now=future).returncode == 1  # the clock itself is wrong
    before = everything(installation)
    assert "Nothing was done" in installation.run_here("repair-clock", "--dry-run", now=now).stdout
    assert everything(installation) == before
    repaired = installation.run_here("repair-clock", now=now)
    assert repaired.returncode == 0, repaired.stderr
    times = "SELECT table_name, column_name FROM duckdb_columns() WHERE data_type = 'TIMESTAMP' AND NOT internal"
    for table, column in installation.query(times):
        if column != "posted_at":
            late = installation.query(
                f"SELECT count(*) FROM {table} WHERE \"{column}\" > TIMESTAMP '{now}' + INTERVAL 1 HOUR"
            )
            assert late == [(0,)], (table, column)
    assert installation.run_here("maintain", now=now).returncode == 0
    board.now = now = now + timedelta(minutes=1)
    assert installation.run_here("poll", "--once", now=now).returncode == 0
    shown = installation.run_here("index", "--hours", "1").stdout
    assert f"Hour from {now:%Y-%m-%d %H}:00 UTC, so far" in shown


@pytest.mark.parametrize(
    "dating",
    [
        "UPDATE thread_ops SET posted_at = ? WHERE thread_id = (SELECT min(thread_id) FROM thread_ops)",
        "UPDATE thread_ops SET last_seen_at = ? WHERE thread_id = (SELECT min(thread_id) FROM thread_ops)",
        "UPDATE thread_observations SET seen_at = ? WHERE rowid = 0",
        "INSERT INTO coin_prices BY NAME SELECT 'BTC' AS coin_symbol, 'binance' AS source, ?::TIMESTAMP AS \"at\", "
        "1 AS usd",
    ],
)
def test_while_a_row_of_the_future_is_there_nothing_is_deleted_by_age(installation: Installation, dating: str) -> None:
    installation.extra["BIZCHARTS_RETENTION__OBSERVATIONS_FULL_DAYS"] = "1"
    now = NOW + timedelta(minutes=30)
    with DatabaseFile(installation.home / "bizcharts.duckdb").write() as connection:
        connection.execute(dating, [NOW + timedelta(days=40)])
    before = everything(installation)
    refused = installation.run_here("maintain", now=now)
    assert (refused.returncode, "bizcharts repair-clock" in refused.stderr) == (1, True)
    assert everything(installation) == before
    assert installation.run_here("repair-clock", now=now).returncode == 0
    assert installation.run_here("maintain", now=now).returncode == 0


def test_states_of_the_future_are_deleted_as_dated_anew_they_would_be_taken_up(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "bizcharts.duckdb")
    with database.write() as connection:
        connection.executemany(
            "INSERT INTO index_states VALUES ('lexicon', 'filter-1', ?, 'market', NULL, [1.0])",
            [(NOW - timedelta(hours=12),), (NOW + timedelta(days=9, hours=12),)],
        )
    repair(database, NOW)
    with database.read() as connection:
        assert connection.execute('SELECT "at" FROM index_states').fetchall() == [(NOW - timedelta(hours=12),)]


def test_repair_without_a_source_has_to_be_meant(installation: Installation) -> None:
    installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = OFFLINE
    assert "--trust-clock" in installation.run_here("repair-clock", now=NOW).stderr
    assert installation.run_here("repair-clock", "--trust-clock", now=NOW).returncode == 0


def test_the_scheduler_forgets_ticks_of_the_future(tmp_path: Path) -> None:
    now, later = NOW.replace(tzinfo=UTC).timestamp(), (NOW + timedelta(days=30)).replace(tzinfo=UTC).timestamp()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for at in (now - 60, later):
            instance.create_tick(TickData("origin", "live", InstigatorType.SCHEDULE, TickStatus.SKIPPED, at))
        assert forget_future(tmp_path, now, dry_run=True) == 1
        assert forget_future(tmp_path, now) == 1
        assert [tick.timestamp for tick in instance.get_ticks("origin", "")] == [now - 60]
    assert forget_future(tmp_path / "nowhere", now) == 0


def test_runs_of_a_clock_that_was_ahead_pause_nothing(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.create_run_for_job(quick_live, tags={UNREACHABLE: "true"})
        assert unreachable_pause(instance, datetime.now(UTC)) is not None
        assert unreachable_pause(instance, datetime.now(UTC) - timedelta(days=30)) is None


def test_a_source_that_tells_another_time_stops_the_poll_before_it_is_spooled(
    board: SimulatedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_API_URL", board.url)
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "0")
    pipeline = LivePipeline.from_settings(load_settings())
    with pytest.raises(ClockDisagrees, match="timedatectl"):
        poll_catalog(pipeline.client, pipeline.spool, pipeline.database, NOW + timedelta(days=2))
    assert not pipeline.spool.pending()
