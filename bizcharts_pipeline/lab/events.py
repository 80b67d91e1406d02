"""What the price did around the days on which the mood entered an extreme class, compared with placebo days.

The placebo moves all events by the same number of days around the sample's end: their number and their distances stay
as they are, their relation to the price is lost. The band holds 95 % of such placebos.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.readings import CLASS_EDGES, LABELS, labels_of
from bizcharts_pipeline.lab.series import Floats

BEFORE, AFTER = 5, 7  # days
HORIZONS = (1, 3, 7)  # days after the event that are tested
MIN_EVENTS = 5
PLACEBOS = 999
EXTREMES = (LABELS[0], LABELS[-1])
EDGES = (CLASS_EDGES[1], CLASS_EDGES[-2])


@dataclass(frozen=True)
class EventReturn:
    """The mean log return from an event's day to ``days`` later, and the band of the placebos' means."""

    days: int  # negative: before the event
    mean: float
    lo: float
    hi: float
    p: float  # two-sided, share of the placebos at least as far from their mean


@dataclass(frozen=True)
class EventStudy:
    """Returns around the entries into a class. ``after`` are the tested horizons, ``path`` is for the plot."""

    event: str
    n: int
    after: tuple[EventReturn, ...]
    path: tuple[EventReturn, ...]


def entries(mood: Floats, label: str) -> NDArray[np.intp]:
    """Return the places of the days on which the mood entered the class ``label``: it was of another one before."""
    labels = labels_of(mood)
    return np.array(
        [place for place in range(1, len(labels)) if labels[place] == label and labels[place - 1] not in (None, label)],
        dtype=np.intp,
    )


def event_study(mood: Floats, returns: Floats, label: str, *, seed: int, placebos: int = PLACEBOS) -> EventStudy | None:
    """Return the lab's study of the days on which the mood entered the class ``label`` (``mood`` 0 to 100, by day, NaN
    for gaps).

    ``None``: there were fewer than :data:`MIN_EVENTS`, or the days are too few for placebos.
    """
    places = entries(mood, label)
    n = returns.size
    places = places[(places >= BEFORE) & (places < n - AFTER)]
    if places.size < MIN_EVENTS or n < 4 * (BEFORE + AFTER):
        return None
    # Offset by one, the sum of the returns up to the end of each day; around the end, as the placebos are.
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(np.tile(returns, 3)))])
    shifts = np.random.default_rng(seed).integers(AFTER + BEFORE, n - AFTER - BEFORE, placebos)
    moved = (places[None, :] + shifts[:, None]) % n

    def mean(at: NDArray[np.intp], days: int) -> Floats:
        ends = at + n + 1
        change = total[ends + days] - total[ends] if days >= 0 else total[ends] - total[ends + days]
        return np.asarray(change.mean(axis=-1), dtype=np.float64)

    def measured(days: int) -> EventReturn:
        real, drawn = float(mean(places, days)), mean(moved, days)
        lo, hi = np.quantile(drawn, [0.025, 0.975])
        further = np.abs(drawn - drawn.mean()) >= abs(real - drawn.mean())
        p = (1 + int(further.sum())) / (1 + placebos)
        return EventReturn(days, real, float(lo), float(hi), p)

    path = tuple(measured(days) for days in (*range(-BEFORE, 0), *range(1, AFTER + 1)))
    return EventStudy(label, int(places.size), tuple(each for each in path if each.days in HORIZONS), path)
