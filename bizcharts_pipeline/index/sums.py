"""Hourly sums of votes, the input of the filters.

A vote's weight is ``certainty x engagement x copies``. The reply count of a post is known better later, so every hour
is summed three times: as known at its end, an hour later, and two hours later, when it is settled.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.votes import HOUR, Bools, Floats, Ints, Votes
from bizcharts_pipeline.text.duplicates import MEMORY

AT_ITS_END, AN_HOUR_LATER, SETTLED = range(3)  # versions of a cell, as the columns of Votes.engagement
SETTLING_HOURS = 2


@dataclass(frozen=True)
class Sums:
    """Sums over the votes of ``K`` cells (an hour, or an hour and a coin)."""

    n: Ints  # (K,) votes
    weight: Floats  # (K,) sum w
    stance: Floats  # (K,) sum w s
    square: Floats  # (K,) sum v: contribution of the votes to the sum of their groups' squared weights
    square_stance: Floats  # (K,) sum v s
    square_stance2: Floats  # (K,) sum v s^2

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The six sums of votes, in order."""
        return (self.n, self.weight, self.stance, self.square, self.square_stance, self.square_stance2)

    def part(self, cells: slice | Ints) -> "Sums":
        """Return the sums of votes of some of the cells."""
        return Sums(*(column[cells] for column in self.columns))

    @cached_property
    def mean(self) -> Floats:
        """Mean stance of a cell's votes, weighted (K,); 0 without weight."""
        return np.divide(self.stance, self.weight, out=np.zeros_like(self.stance), where=self.weight > 0)

    @cached_property
    def n_eff(self) -> Floats:
        """Effective number of independent votes (Kish 1965), counting near-duplicates once; 0 without weight."""
        return np.divide(self.weight**2, self.square, out=np.zeros_like(self.weight), where=self.square > 0)

    @property
    def variance(self) -> Floats:
        """Sampling variance of the votes' :attr:`mean` (K,), for cells with weight; at most doubled for few votes."""
        return self.deviation(self.mean) / self.weight**2 / np.maximum(1 - 1 / self.n_eff, 0.5)

    def interval(self, probability: float) -> tuple[Floats, Floats]:
        """Return the interval of the votes' :attr:`mean` by its sampling error, cut off at ±1: two of (K,), for cells
        with weight.
        """
        reach = NormalDist().inv_cdf((1 + probability) / 2) * np.sqrt(self.variance)
        return np.maximum(self.mean - reach, -1.0), np.minimum(self.mean + reach, 1.0)

    def deviation(self, centre: Floats | float) -> Floats:
        """Return the votes' sum v (s - centre)^2 (K,), not below 0."""
        return np.maximum(self.square_stance2 - 2 * centre * self.square_stance + centre**2 * self.square, 0.0)


def cell_sums(votes: Votes, cell: Ints, cells: int) -> tuple[Sums, Sums, Sums]:
    """Return the sums of the votes in each cell, thrice: as known at the end of the hour, one hour later, and two hours
    later. ``cell`` has one index for each vote; -1 leaves the vote out.
    """
    copies = copy_numbers(votes)
    total, before = _group_weight(copies), _group_weight(copies - 1)
    wanted = cell >= 0
    cell, stance = cell[wanted], votes.stance[wanted]
    n = np.bincount(cell, minlength=cells)

    def added(known: int) -> Sums:
        base = (votes.weight * votes.engagement[:, known])[wanted]
        weight, square = base * (total - before)[wanted], base**2 * (total**2 - before**2)[wanted]
        columns = (weight, weight * stance, square, square * stance, square * stance**2)
        return Sums(n, *(np.bincount(cell, column, cells).astype(np.float64, copy=False) for column in columns))

    settled = added(SETTLED)
    if (votes.engagement[:, :2] == votes.engagement[:, 2:]).all():
        return settled, settled, settled  # as for archived posts, without observations
    return added(AT_ITS_END), added(AN_HOUR_LATER), settled


def settled_weights(votes: Votes) -> Floats:
    """Return what each vote adds to :attr:`Sums.weight` of its settled cell (M,)."""
    copies = copy_numbers(votes)
    rest = _group_weight(copies) - _group_weight(copies - 1)
    return np.asarray(votes.weight * votes.engagement[:, SETTLED] * rest)


def joined(one: Sums, other: Sums) -> Sums:
    """Return the sums over the votes of both ``one`` and ``other``, cell by cell."""
    return Sums(*(mine + its for mine, its in zip(one.columns, other.columns, strict=True)))


def hours_of(votes: Votes, begin: int) -> Ints:
    """Return the index of the hour of each vote: 0 for ``(begin, begin + 1 h]``."""
    return -(-(votes.posted_at - begin) // HOUR) - 1


def copy_numbers(votes: Votes) -> Ints:
    """Return 1 plus the number of near-duplicates of the same series in the 48 hours before each vote of the index:
    (M,).
    """
    numbers = np.ones(len(votes.cluster), np.int64)
    grouped = np.flatnonzero(_in_a_group(votes))
    if not len(grouped):
        return numbers
    place = grouped[np.lexsort((votes.cluster[grouped], votes.series[grouped]))]  # stable: by time within a group
    series, cluster, posted = votes.series[place], votes.cluster[place], votes.posted_at[place]
    counted, step = np.arange(len(place)), 1
    while len(counted := counted[counted >= step]):
        earlier = counted - step
        same = (series[counted] == series[earlier]) & (cluster[counted] == cluster[earlier])
        counted = counted[same & (posted[counted] - posted[earlier] < MEMORY)]
        numbers[place[counted]] += 1
        step += 1
    return numbers


def _in_a_group(votes: Votes) -> Bools:
    return np.isin(votes.cluster, np.unique(votes.cluster[votes.copy]))


def _group_weight(copies: Ints) -> Floats:
    """1 + ln m for m copies, 0 for none: ten copies count little more than one opinion."""
    return np.where(copies > 0, 1 + np.log(np.maximum(copies, 1)), 0.0)
