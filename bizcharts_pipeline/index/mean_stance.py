"""Mean stances of groups of posts, each with its interval."""

from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.index.sums import SETTLED, cell_sums
from bizcharts_pipeline.index.votes import Ints, Votes


@dataclass(frozen=True)
class MeanStance:
    """The weighted mean stance of some posts, -1 to 1, with the interval of its sampling error.

    The weights are the index's, so near-duplicates count little. All but ``posts`` are ``None`` without posts.
    """

    posts: int
    n_eff: float | None
    stance: float | None
    lo: float | None
    hi: float | None


NONE = MeanStance(0, None, None, None, None)


def mean_stances(votes: Votes, group: Ints, groups: int, probability: float) -> list[MeanStance]:
    """Return the mean stance of each group of posts, weighted as in the index; ``group`` has one number per vote, -1
    for none.
    """
    sums = cell_sums(votes, group, groups)[SETTLED]
    found = [NONE] * groups
    there = np.flatnonzero(sums.weight > 0)
    known = sums.part(there)
    lo, hi = known.interval(probability)
    figures = (known.n, known.n_eff, known.mean, lo, hi)
    for place, n, *rest in zip(there.tolist(), *(column.tolist() for column in figures), strict=True):
        found[place] = MeanStance(n, *rest)
    return found
