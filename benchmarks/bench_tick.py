"""Cost of a minutely tick: the job `live` compared with an empty Dagster run, as alternating whole processes."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.measure import Row, ratio
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.live import LivePipeline, run_tick
from bizcharts_pipeline.models.registry import as_row, fit_and_publish
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.settings import REPOSITORY_ROOT, load_settings
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.warehouse.models import promote

ROUNDS = 9
HISTORY_DAYS = 90
TRAINED_DAYS = 2  # of history below a trained champion, which scores all of it first
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
    """Yield the figures; medians over alternated runs on a database with history."""
    yield from _ticks(HISTORY_DAYS, "lexicon")
    yield from _ticks(TRAINED_DAYS, "ensemble")


def _ticks(days: int, champion: str) -> Iterator[Row]:
    world = World(3, START - timedelta(days=days), days + 1)
    with tempfile.TemporaryDirectory() as folder, SimulatedBoard(world, now=START) as board:
        home, dagster_home = Path(folder) / "home", Path(folder) / "dagster_home"
        dagster_home.mkdir()
        shutil.copy(REPOSITORY_ROOT / "dagster_home" / "dagster.yaml", dagster_home)
        settings = load_settings(home=home, fourchan_api_url=board.url, fourchan_seconds_per_request=0)
        pipeline = LivePipeline.from_settings(settings)
        fill_history(world, pipeline, START - timedelta(hours=1))
        if champion == "ensemble":
            _promote_ensemble(pipeline)
        run_tick(pipeline, START, everything=True)
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": f"{folder}/bytecode",  # as on a machine that has run a tick before
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
    yield "empty Dagster run", median(empty), "s", f"one asset that does nothing, in one process; beside {champion}"
    note = "over the empty run; goal 1.3, at most 1.6"
    yield f"tick (job live), {champion}", median(tick), "s", note, ratio(tick, empty)
    yield f"tick without Dagster, {champion}", median(warm), "s", "in a warm process"
    if champion != "lexicon":
        return
    modules, seconds = load[0][0], median(seconds for _, seconds in load)
    yield "loading the code location", seconds, "s", f"CPU; {modules} modules more than `import dagster`"


def _promote_ensemble(pipeline: LivePipeline) -> None:
    examples = [TextExample(k, None, Post("", f"{STANCES[k % 3]} post number {k}"), k % 3, k) for k in range(60)]
    model = as_row(fit_and_publish(EnsembleRecipe(), examples, "made up", pipeline.place.home, 1), START)
    with pipeline.database.write() as connection:
        promote(connection, replace(model, status="champion"))


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
