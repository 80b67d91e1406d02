"""Published readings from stances: percentile rank in the past, class and state."""

from collections.abc import Iterable

import numpy as np

from bizcharts_pipeline.index.votes import DAY, Bools, Floats, Ints
from bizcharts_pipeline.settings import FearGreedSettings

LABELS = ("Extreme Fear", "Fear", "Neutral", "Greed", "Extreme Greed")
CLASS_EDGES = (0.0, 25.0, 45.0, 55.0, 75.0, 100.0)  # same as alternative.me's, for comparability
FULL_COVERAGE = 0.5  # of the window's hours; a reading with less coverage is at best thin

STATES = NORMAL, THIN, CALIBRATING, NO_READING = ("normal", "thin", "calibrating", "no reading")
WITH_VALUE = (NORMAL, THIN)


def mid_rank(history: Floats, stances: Floats) -> Floats:
    """Return the index value: the mid-rank percentile (0 to 100) of each of ``stances`` in ``history``, N ascending
    points.

    100 (#less + #equal / 2 + 1/2) / (N + 1)
    """
    less = np.searchsorted(history, stances, side="left")
    up_to = np.searchsorted(history, stances, side="right")
    rank: Floats = 100 * ((less + up_to) / 2 + 0.5) / (len(history) + 1)
    return np.where(np.isnan(stances), np.nan, rank)


def index_values(
    ends: Ints,
    stances: tuple[Floats, ...],
    day_ends: Ints,
    day_stances: Floats,
    parameters: FearGreedSettings,
) -> tuple[tuple[Floats, ...], Ints]:
    """Return the index values (0 to 100) of several series of ``stances`` at ``ends``, and the number of daily points
    in each ranking.

    A stance is ranked among the daily points of the last ``history_days`` strictly before its end. ``ends`` ascend.
    """
    values = tuple(np.full(len(ends), np.nan) for _ in stances)
    counts = np.zeros(len(ends), np.int64)
    days = -(-ends // DAY) * DAY
    turns = np.flatnonzero(np.diff(days, prepend=-1)).tolist()
    for begin, stop in zip(turns, [*turns[1:], len(ends)], strict=True):
        # All ends of one UTC day see the same daily points.
        day = int(days[begin])
        oldest, newest = np.searchsorted(day_ends, [day - parameters.history_days * DAY, day])
        counts[begin:stop] = newest - oldest
        history = np.sort(day_stances[oldest:newest])
        for value, stance in zip(values, stances, strict=True):
            value[begin:stop] = mid_rank(history, stance[begin:stop])
    return values, counts


def label_of(value: float) -> str:
    """Return the class, such as "Fear", of an index ``value``, rounded to an integer as it is printed."""
    printed = round(value)
    if printed < CLASS_EDGES[1]:
        return LABELS[0]
    if printed < CLASS_EDGES[2]:
        return LABELS[1]
    if printed <= CLASS_EDGES[3]:
        return LABELS[2]
    return LABELS[3] if printed <= CLASS_EDGES[4] else LABELS[4]


def labels_of(values: Iterable[float]) -> list[str | None]:
    """Return the class, such as "Fear", of each of the index's ``values``; ``None`` for NaN."""
    return [None if np.isnan(value) else label_of(value) for value in values]


def states_of(n_eff: Floats, calibrated: Bools, coverage: Floats, parameters: FearGreedSettings) -> list[str]:
    """Return the state of each of the index's readings: the most serious one that applies (NaN coverage: unknown)."""
    thin = (n_eff < parameters.thin_below) | (coverage < FULL_COVERAGE)
    choice = [n_eff < parameters.no_reading_below, ~calibrated, thin]
    states: list[str] = np.select(choice, [NO_READING, CALIBRATING, THIN], NORMAL).tolist()
    return states
