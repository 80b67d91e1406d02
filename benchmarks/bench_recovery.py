"""Accuracy with which the index recovers a hidden mood, in several simulated worlds."""

import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean

from benchmarks.measure import Row
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.truth import Recovery, recovery
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline
from bizcharts_pipeline.settings import load_settings

SEEDS = (2026, 1, 2, 3)
DAYS = 97
END = datetime(2026, 11, 22, 15, 0)


def rows() -> Iterator[Row]:
    """Yield one row for each figure: the mean over the worlds, with each world's value in the note."""
    found = [_recovery_of(seed) for seed in SEEDS]
    hours = f"{found[0].hours} hours of each of {len(SEEDS)} worlds"
    for name, figures in (
        ("correlation of stance and truth", [world.stance_correlation for world in found]),
        ("rank correlation of index and mood", [world.index_correlation for world in found]),
        ("interval contains the true stance", [world.coverage for world in found]),
    ):
        each = ", ".join(f"{figure:.2f}" for figure in figures)
        yield name, fmean(figures), "", f"{each}; {hours}" + ("; nominal 0.90" if "interval" in name else "")


def _recovery_of(seed: int) -> Recovery:
    world = World(seed, END - timedelta(days=DAYS), DAYS)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = LivePipeline.from_settings(load_settings(home=Path(folder)))
        fill_history(world, pipeline, END)
        return recovery(world, pipeline.database)
