"""Cost of a minutely tick: the job `live` compared with an empty Dagster run, as alternating whole processes."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.measure import Row
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline, run_tick
from bizcharts_pipeline.settings import REPOSITORY_ROOT, load_settings

ROUNDS = 9
HISTORY_DAYS = 90
START = datetime(2026, 3, 2, 12, 0)
# Overhead of the code location over Dagster itself: modules, and CPU seconds for building the definitions.
_LOAD = """
import dagster, sys, time
before, began = len(sys.modules), time.process_time()
from bizcharts_pipeline.definitions import definitions
definitions().get_repository_def().get_job("live")
print(len(sys.modules) - before, time.process_time() - began)
"""


def rows() -> Iterator[Row]:
    """Yield the figures; medians over alternated runs on a database with 90 days of history."""
    world = World(3, START - timedelta(days=HISTORY_DAYS), HISTORY_DAYS + 1)
    with tempfile.TemporaryDirectory() as folder, SimulatedBoard(world, now=START) as board:
        home, dagster_home = Path(folder) / "home", Path(folder) / "dagster_home"
        dagster_home.mkdir()
        shutil.copy(REPOSITORY_ROOT / "dagster_home" / "dagster.yaml", dagster_home)
        settings = load_settings(home=home, fourchan_api_url=board.url, fourchan_seconds_per_request=0)
        pipeline = LivePipeline.from_settings(settings)
        fill_history(world, pipeline, START - timedelta(hours=1))
        run_tick(pipeline, START)
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(dagster_home),
            "BIZCHARTS_HOME": str(home),
            "BIZCHARTS_FOURCHAN_API_URL": board.url,
            "BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST": "0",
        }
        empty, tick, warm, load = [], [], [], []
        for minute in range(1, ROUNDS + 2):
            board.now = START + timedelta(minutes=2 * minute)
            environment["BIZCHARTS_NOW"] = board.now.isoformat()
            empty.append(_seconds("benchmarks.empty_location", "empty", environment))
            tick.append(_seconds("bizcharts_pipeline.definitions", "live", environment))
            board.now += timedelta(minutes=1)
            started = time.perf_counter()
            run_tick(pipeline, board.now)
            warm.append(time.perf_counter() - started)
            load.append(_load(environment))
    empty, tick, warm, load = empty[1:], tick[1:], warm[1:], load[1:]  # the first round fills the caches
    ratio = median(b / a for a, b in zip(empty, tick, strict=True))
    yield "empty Dagster run", median(empty), "s", "one asset that does nothing, in one process"
    yield "tick (job live)", median(tick), "s", f"{ratio:.2f} times the empty run; goal 1.3, at most 1.6"
    yield "tick without Dagster", median(warm), "s", "in a warm process"
    modules, seconds = load[0][0], median(seconds for _, seconds in load)
    yield "loading the code location", seconds, "s", f"CPU; {modules} modules more than `import dagster`"


def _seconds(module: str, job: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", job]
    started = time.perf_counter()
    subprocess.run(command, env=environment, cwd=REPOSITORY_ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def _load(environment: dict[str, str]) -> tuple[int, float]:
    finished = subprocess.run(
        [sys.executable, "-c", _LOAD], env=environment, cwd=REPOSITORY_ROOT, check=True, capture_output=True, text=True
    )
    modules, seconds = finished.stdout.split()
    return int(modules), float(seconds)
