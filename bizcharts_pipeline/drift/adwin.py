"""ADWIN: finds the change of a stream's mean with a window that adapts (Bifet and Gavaldà 2007).

The window grows with the stream; when two parts of it have means that differ by more than chance allows, the older part
is dropped. This one checks at each day's end and cuts between days, which makes it exact without the original's
histogram of buckets: a report reads some 120 days at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.drift.panel import Floats


@dataclass(frozen=True)
class Cut:
    """A place of the stream where the mean changes, or the likeliest one if it does not."""

    seen: int  # the day at whose end it was found
    split: int  # the first day of the newer part
    difference: float  # newer mean minus older
    bound: float  # that chance exceeds with a probability of at most ``level``

    @property
    def found(self) -> bool:
        """Whether the means before and after the cut differ by more than chance allows: the stream has drifted."""
        return abs(self.difference) > self.bound


def cuts(stream: Sequence[Floats], level: float, design_effect: float = 1.0) -> list[Cut]:
    """Return the cuts that ADWIN makes in a stream of daily values that may drift: for the end of each day but the
    first, the newest place where the window was cut, or the likeliest one.

    Args:
        stream: the values of each day.
        level: the probability of a false cut at one day's end, at most.
        design_effect: by how much the variance of a day's mean exceeds that of independent values.
    """
    count = np.cumsum([0, *(len(day) for day in stream)])
    total = np.cumsum([0.0, *(day.sum() for day in stream)])
    square = np.cumsum([0.0, *((day**2).sum() for day in stream)])
    values = np.concatenate([*stream, np.zeros(0)])
    width = float(np.ptp(values)) if len(values) else 0.0
    found, begin = [], 0
    for end in range(2, len(stream) + 1):
        newest: Cut | None = None
        while (cut := _likeliest(count, total, square, begin, end, level, design_effect, width)) is not None:
            if not cut.found:
                newest = newest or cut
                break
            newest, begin = cut, cut.split
        if newest is not None:
            found.append(newest)
    return found


def _likeliest(
    count: Floats, total: Floats, square: Floats, begin: int, end: int, level: float, design_effect: float, width: float
) -> Cut | None:
    """Return the cut of the days from ``begin`` to ``end`` whose means differ most, by its bound."""
    splits = np.arange(begin + 1, end)
    older, newer = count[splits] - count[begin], count[end] - count[splits]
    there = (older > 0) & (newer > 0)
    splits, older, newer = splits[there], older[there], newer[there]
    if not len(splits):
        return None
    all_values = count[end] - count[begin]
    mean = (total[end] - total[begin]) / all_values
    variance = max(0.0, (square[end] - square[begin]) / all_values - mean**2) * design_effect
    harmonic = 1 / (1 / older + 1 / newer)
    chance = math.log(2 * len(splits) / level)
    bound = np.sqrt(2 / harmonic * variance * chance) + 2 / (3 * harmonic) * chance * width
    difference = (total[end] - total[splits]) / newer - (total[splits] - total[begin]) / older
    most = int(np.argmax(np.abs(difference) / np.maximum(bound, 1e-300)))
    return Cut(end - 1, int(splits[most]), float(difference[most]), float(bound[most]))
