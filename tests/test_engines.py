"""The pipeline gives the same numbers on a file and on a lake, and through a move between them."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from buckets import Buckets
from installation import Installation
from postgres import Postgres

from bizcharts_pipeline.core.postgres import lock
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline, run_tick
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.service.daemon_turn import LOCK
from bizcharts_pipeline.settings import RetentionSettings, load_settings, postgres_words
from bizcharts_pipeline.warehouse import lake as lake_module
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake

START = datetime(2026, 3, 2, 12, 0)
DAYS = 3


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]  # when each was applied
    return found


def run(home: Path, early: str, late: str | None = None, last: str | None = None) -> Database:
    """History, ticks, and maintenance; each starts anew from the same world. The three databases are where the first
    ticks, the later ones, and maintenance take place; between different ones the home is moved.
    """
    late = early if late is None else late
    last = late if last is None else last
    world = World(3, START - timedelta(days=DAYS), DAYS + 1)
    with SimulatedBoard(world, now=START) as board:

        def pipeline_on(database: str) -> LivePipeline:
            settings = load_settings(
                home=home, database=database, fourchan_api_url=board.url, fourchan_seconds_per_request=0
            )
            return LivePipeline.from_settings(settings)

        def tick(pipeline: LivePipeline, minutes: int) -> None:
            board.now = START + timedelta(minutes=minutes)
            run_tick(pipeline, board.now)

        pipeline = pipeline_on(early)
        fill_history(world, pipeline, START - timedelta(hours=1))
        run_tick(pipeline, START, everything=True)
        for minutes in (1, 2):
            tick(pipeline, minutes)
        move(home, early, late, board)
        pipeline = pipeline_on(late)
        for minutes in (30, 61):
            tick(pipeline, minutes)
        move(home, late, last, board)
        pipeline = pipeline_on(last)
        maintain(pipeline.database, home, RetentionSettings(html_days=1, observations_full_days=1), board.now)
        tick(pipeline, 62)
    return pipeline.database


def move(home: Path, source: str, target: str, board: SimulatedBoard) -> None:
    """Move a home between databases, by the command."""
    if source != target:
        here = Installation(home.parent, board.url, extra={"BIZCHARTS_HOME": str(home), "BIZCHARTS_DATABASE": source})
        moved = here.run_here("migrate", "--to", target, now=board.now)
        assert moved.returncode == 0, moved.stderr


@pytest.mark.slow
def test_ticks_scores_indexes_and_maintenance_are_the_same_on_a_file_and_on_a_lake_and_after_moving_either_way(
    tmp_path: Path, postgres: Postgres, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_file = contents(run(tmp_path / "file", ""))
    assert contents(run(tmp_path / "lake", postgres.new_lake())) == on_file
    assert contents(run(tmp_path / "moved", "", postgres.new_lake(), str(tmp_path / "back.duckdb"))) == on_file
    place = buckets.new()
    for name, value in (buckets.environment | {"BIZCHARTS_DATABASE_FILES": place}).items():
        monkeypatch.setenv(name, value)
    assert contents(run(tmp_path / "bucket", postgres.new_lake())) == on_file
    assert len(buckets.objects(place)) > 50


def test_init_creates_a_lake_but_not_a_second_time_nor_over_a_lost_one(
    tmp_path: Path, lake: Lake, postgres: Postgres
) -> None:
    here = Installation(tmp_path, "http://127.0.0.1:9", extra={"BIZCHARTS_DATABASE": lake.address})
    assert "has no lake there" in here.run_here("stats").stderr
    made = here.run_here("init")
    assert (made.returncode, made.stdout) == (0, f"{lake.address}: created, empty.\n"), made.stderr
    assert here.run_here("stats").returncode == 0
    again = here.run_here("init")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "already exists" in again.stderr
    postgres.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public", lake.address.split("dbname=")[1].split()[0])
    lake_module._attached.clear()  # as a new process
    lost = here.run_here("init")
    assert (lost.returncode, lost.stderr.count("\n")) == (1, 1)
    assert "this installation has had one" in lost.stderr


@pytest.mark.slow
def test_the_commands_work_on_a_lake_or_say_what_to_use_instead(tmp_path: Path, lake: Lake) -> None:
    world = World(3, START - timedelta(days=DAYS), DAYS + 1)
    with SimulatedBoard(world, now=START) as board:
        here = Installation(tmp_path, board.url)
        assert here.run_here("poll", "--once", now=START).returncode == 0
        on_file = here.run_here("index", "--json", now=START).stdout
        moved = here.run_here("migrate", "--to", lake.address, now=START)
        assert moved.returncode == 0, moved.stderr
        assert "copied and compared" in moved.stdout
        for command in (["poll", "--once"], ["pods", "list"], ["labels", "stats"], ["health"], ["run", "live"]):
            outdated = here.run_here(*command, now=START)
            assert outdated.returncode, outdated.stdout
            assert f"Set BIZCHARTS_DATABASE to {lake.address}" in outdated.stderr
            assert outdated.stderr.count("\n") == 1
        again = here.run_here("migrate", "--to", lake.address, now=START)
        assert f"Set BIZCHARTS_DATABASE to {lake.address}. No command" in again.stdout, again.stderr
        here.extra["BIZCHARTS_DATABASE"] = lake.address
        assert here.run_here("index", "--json", now=START).stdout == on_file
        board.now += timedelta(minutes=1)
        here.run_job("live", board.now)
        for command in (["stats"], ["coverage"], ["coins"], ["poll", "--once"], ["labels", "stats"]):
            done = here.run_here(*command, now=board.now)
            assert done.returncode == 0 or command[0] == "labels", done.stderr
            assert "Traceback" not in done.stderr
        for command in (["backup", "b.tar"], ["snapshot", "s.duckdb"], ["repair"], ["init", "--new"]):
            done = here.run_here(*command, now=board.now)
            assert done.returncode == 1
            assert "pg_dump" in done.stderr
            assert done.stderr.count("\n") == 1
        with lock(postgres_words(lake.address), LOCK):
            served = here.run_here("migrate", "--to", str(tmp_path / "back.duckdb"), now=board.now)
        assert (served.returncode, served.stderr.count("\n")) == (1, 1)
        assert "Another machine's service, or another move, uses the lake" in served.stderr
        back = here.run_here("migrate", "--to", str(tmp_path / "back.duckdb"), now=board.now)
        assert back.returncode == 0, back.stderr
        assert "was moved to" in here.run_here("stats", now=board.now).stderr
        here.extra["BIZCHARTS_DATABASE"] = str(tmp_path / "back.duckdb")
        assert here.run_here("stats", now=board.now).returncode == 0
