"""Compares the index with the truth: the present stance, which the scorer would measure on infinitely many posts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.core.clock import DAY, to_epoch
from bizcharts_pipeline.demo.mood import class_probabilities
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.index.votes import certainty_factor
from bizcharts_pipeline.index.words import in_short, in_words, marks_borderline
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.as_of import newest_readings
from bizcharts_pipeline.warehouse.database import Database

Floats = NDArray[np.float64]

_SCORES = "SELECT thread_id, score, confidence FROM scored_posts ORDER BY thread_id"
_HOURS = """
SELECT epoch(bucket_start)::BIGINT + 3600 AS at, stance, stance_lo, stance_hi, value, state
FROM fear_greed_index WHERE bucket = 'hour' AND final
QUALIFY row_number() OVER (PARTITION BY bucket_start ORDER BY computed_at DESC) = 1
ORDER BY bucket_start
"""


@dataclass(frozen=True)
class DayBesideMood:
    """One day of the index and the day's mean of the hidden mood (-1 to 1)."""

    day: datetime
    value: float | None
    lo: float | None
    hi: float | None
    label: str | None
    state: str
    stance: float | None
    posts: int
    final: bool
    mood: float
    running: bool  # the day is not complete
    short: str  # class and state, for a table
    words: str  # position in the index's past, and state


@dataclass(frozen=True)
class Recovery:
    """Agreement of the index with the hidden mood, over the hours with an index value."""

    hours: int
    stance_correlation: float  # of the published stance with the true present stance
    index_correlation: float  # Spearman's, of the published index with the hidden mood
    coverage: float  # share of the hours whose interval contains the true present stance


def recovery(world: World, database: Database) -> Recovery:
    """Compare the published hours with the truth of the simulated ``world``."""
    with database.read() as connection:
        scores = connection.execute(_SCORES).fetchnumpy()
        hours = connection.execute(_HOURS).fetchnumpy()
    at = hours["at"].astype(np.int64)
    begin = world.start
    grid = np.arange(int(to_epoch(begin)) + 3600, int(at[-1]) + 1, 3600)
    expected, mood = _expected(world, grid, scores)
    place = np.searchsorted(grid, at)
    counted = np.isin(hours["state"].astype(str), ["normal", "thin"])
    stance, lo, hi = (np.asarray(hours[name], float)[counted] for name in ("stance", "stance_lo", "stance_hi"))
    value = np.asarray(hours["value"], float)[counted]
    truth, mood = expected[place][counted], mood[place][counted]
    return Recovery(
        hours=int(counted.sum()),
        stance_correlation=float(np.corrcoef(stance, truth)[0, 1]),
        index_correlation=float(np.corrcoef(_ranks(value), _ranks(mood))[0, 1]),
        coverage=float(np.mean((lo <= truth) & (truth <= hi))),
    )


def days_beside_mood(
    world: World, database: Database, parameters: FearGreedSettings, days: int, now: datetime
) -> list[DayBesideMood]:
    """Return the newest days of the index at ``now`` (naive UTC), newest first, each with the true mood of the
    simulated board."""
    with database.read() as connection:
        readings = newest_readings(connection, "day", days)
    mark = marks_borderline(readings)
    return [
        DayBesideMood(
            day=reading.bucket_start,
            value=reading.value,
            lo=reading.lo,
            hi=reading.hi,
            label=reading.label,
            state=reading.state,
            stance=reading.stance,
            posts=reading.n,
            final=reading.final,
            mood=_mean_mood(world, reading.bucket_start),
            running=now < reading.bucket_start + DAY,
            short=in_short(reading, mark=mark),
            words=in_words(reading, parameters),
        )
        for reading in readings
    ]


def _mean_mood(world: World, day: datetime) -> float:
    return float(world.mood_path.at_epochs(to_epoch(day) + np.arange(24) * 3600.0).mean())


def _expected(world: World, grid: NDArray[np.int64], scores: dict[str, NDArray[np.float64]]) -> tuple[Floats, Floats]:
    """Return the present stance under the scoring model, and the mood, at each Unix second of the hourly ``grid``."""
    weight_of, stance_of = _mean_weights(world, grid, scores)
    mood = world.mood_path.at_epochs(grid)
    shares = [class_probabilities(float(level)) for level in mood]
    weight = np.array([sum(share[k] * weight_of[k] for k in share) for share in shares])
    stance = np.array([sum(share[k] * stance_of[k] for k in share) for share in shares])
    return stance / weight, mood


def _mean_weights(
    world: World, grid: NDArray[np.int64], scores: dict[str, NDArray[np.float64]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean weight, and the mean of weight times stance, of the posts of each true class."""
    end = datetime(1970, 1, 1) + timedelta(seconds=int(grid[-1]))
    truth = {thread.thread_id: thread.stance for thread in world.threads_between(world.start, end)}
    classes = np.array([truth.get(int(number), "") for number in scores["thread_id"]])
    weight = certainty_factor(np.asarray(scores["confidence"], float))
    product = weight * np.asarray(scores["score"], float)
    names = ("bearish", "neutral", "bullish")
    return (
        {name: float(weight[classes == name].mean()) for name in names},
        {name: float(product[classes == name].mean()) for name in names},
    )


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values)).astype(float)
