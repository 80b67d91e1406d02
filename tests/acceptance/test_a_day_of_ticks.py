"""A day of minutely ticks through the Dagster job, while others read and write: nothing fails, nothing is lost."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from installation import Installation

from bizcharts_pipeline.definitions import code_location
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.settings import load_settings

START = datetime(2026, 3, 2, 0, 0)
NEIGHBOURS = Path(__file__).with_name("neighbours.py")
BATCH = 20
MOST_ON_A_LAKE = 240  # a tick takes several times as long as on a file


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("ticks", [12, pytest.param(1440, marks=pytest.mark.acceptance)])
def test_a_day_of_ticks_beside_three_busy_processes(
    ticks: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = min(ticks, MOST_ON_A_LAKE) if engine else ticks
    world = World(11, START - timedelta(days=2), 4)
    stop = tmp_path / "stop"
    with SimulatedBoard(world, now=START) as board:
        installation = Installation(tmp_path, board.url, lake=engine)
        for name, value in installation.environment(START).items():
            monkeypatch.setenv(name, value)
        installation.home.mkdir()
        installation.database.migrate()
        program = [sys.executable, str(NEIGHBOURS)]
        database = [installation.database.name, str(installation.home), str(stop)]
        words = {role: [role, *database] for role in ("import", "score", "look")}
        others = {
            role: subprocess.Popen(program + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for role, arguments in words.items()
        }
        job = code_location(load_settings()).resolve_job_def("live")
        seen: set[int] = set()
        with DagsterInstance.get() as instance:
            for minute in range(ticks):
                board.now = START + timedelta(minutes=minute)
                monkeypatch.setenv("BIZCHARTS_NOW", board.now.isoformat())
                seen |= {thread["no"] for page in world.catalog(board.now) for thread in page["threads"]}
                assert job.execute_in_process(instance=instance).success
        stop.touch()
        turns = {}
        for role, process in others.items():
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, (role, errors)
            turns[role] = int(output)
    assert installation.query("SELECT count(*) FROM catalog_snapshots") == [(ticks,)]
    live = {row[0] for row in installation.query("SELECT thread_id FROM thread_ops WHERE source = 'live'")}
    assert live == seen
    assert installation.query("SELECT count(*) FROM thread_ops WHERE source = 'warosu'") == [(turns["import"] * BATCH,)]
    assert installation.query("SELECT count(*) FROM scored_posts WHERE model_version = 'other'") == [(turns["score"],)]
    unscored = "SELECT count(*) FROM thread_ops WHERE source = 'live' AND sentiment_model_version IS NULL"
    assert installation.query(unscored) == [(0,)]
    assert turns["look"] > 0
