"""Fewer points of a series, without losing what stands out.

A line of some hundred pixels cannot show ten years of hours. Every n-th point would lose the very hours that one looks
for; means would lose all extremes. So the time is cut into equal parts, and of each part those points stay that are its
extremes in any of the figures, beside its first one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def kept_points(times: Ints, figures: Sequence[Floats], parts: int) -> Ints:
    """Return the places, ascending, of the points of a series that the app's chart draws.

    Args:
        times: ascending, in any unit.
        figures: series of the same length; NaN is a gap. Of each gap within a part one point stays, so that the line
            breaks there.
        parts: how many equal stretches of time are looked at; at most ``2 * len(figures) + 3`` points of each stay.
    """
    count = len(times)
    if count <= parts:
        return np.arange(count)
    span = max(int(times[-1] - times[0]), 1)
    part = np.minimum((times - times[0]) * parts // (span + 1), parts - 1)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    kept = [starts, np.array([count - 1])]
    for series in figures:
        gaps = np.isnan(series)
        for sign in (1.0, -1.0):
            values = np.where(gaps, np.inf, sign * series)
            order = np.lexsort((values, part))  # within each part the smallest first
            found = order[starts]
            kept.append(found[~gaps[found]])
    gap = np.isnan(figures[0]) if figures else np.zeros(count, bool)
    gap_starts = np.flatnonzero(gap & (np.diff(part, prepend=-1) != 0) | gap & ~np.concatenate(([False], gap[:-1])))
    _, first_gap = np.unique(part[gap_starts], return_index=True)
    kept.append(gap_starts[first_gap])
    return np.unique(np.concatenate(kept))
