"""The weight of every vote at every moment of reading: the one function behind values and intervals.

A vote weighs ``certainty x engagement x recency x duplicates``, and no group of near-duplicates may hold more
than its share. docs/methodology.md explains the factors.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bizcharts_pipeline.index.votes import HOUR, Floats, Ints, Votes, hour_end
from bizcharts_pipeline.settings import FearGreedSettings


@dataclass(frozen=True)
class Weighed:
    """The votes of ``R`` windows, added up by ``K`` pairs of series and cluster, for ``S`` series.

    Columns are sorted by (series, cluster). A cluster that has no vote in a window has weight 0 there.
    """

    series: Ints  # (S,)
    first: Ints  # (S,) the column that each series begins at
    cluster: Ints  # (K,)
    weight: Floats  # (R, K)
    stance: Floats  # (R, K) weight times stance
    total: Floats  # (R, S) weight
    votes: Ints  # (R, S)
    clusters: Ints  # (R, S) that have a vote

    @cached_property
    def mean(self) -> Floats:
        """Weighted mean stance (R, S); NaN where there is no vote."""
        return _divide(np.add.reduceat(self.stance, self.first, axis=1), self.total, np.nan)

    @cached_property
    def n_eff(self) -> Floats:
        """Kish's effective sample size (R, S): (sum w)^2 / sum w^2.

        Over clusters, not votes: ten copies are one opinion, however much weight they keep together.
        """
        return _divide(self.total**2, np.add.reduceat(self.weight**2, self.first, axis=1), 0.0)


def weigh(votes: Votes, ends: Ints, window_hours: int, parameters: FearGreedSettings) -> Weighed:
    """Weigh the votes of the windows ``(end - window, end]``; ``ends`` (R,) ascend."""
    window = window_hours * HOUR
    begin, stop = np.searchsorted(votes.posted_at, [ends[0] - window, ends[-1]], side="right")
    if begin == stop:
        none, nothing, nobody = votes.series[:0], np.zeros((len(ends), 0)), np.zeros((len(ends), 0), np.int64)
        return Weighed(none, none, none, nothing, nothing, nothing, nobody, nobody)
    order = begin + np.lexsort((votes.cluster[begin:stop], votes.series[begin:stop]))
    series, cluster, posted = votes.series[order], votes.cluster[order], votes.posted_at[order]

    inside = (posted <= ends[:, None]) & (posted > ends[:, None] - window)
    # Only the weights' ratios matter, so recency is taken relative to the last end for all of them.
    recency = np.exp2((posted - ends[-1]) / (parameters.recency_half_life_hours * HOUR))
    weight = _engaged(votes.engagement[order], posted, ends) * (votes.weight[order] * recency) * inside

    new_series = np.concatenate([[True], series[1:] != series[:-1]])
    starts = np.flatnonzero(new_series | np.concatenate([[True], cluster[1:] != cluster[:-1]]))
    first = np.searchsorted(starts, np.flatnonzero(new_series))
    size = np.add.reduceat(inside, starts, axis=1, dtype=np.int64)
    clustered = np.add.reduceat(weight, starts, axis=1)
    stance = np.add.reduceat(weight * votes.stance[order], starts, axis=1)
    copied = size > 1
    damping = (1 + np.log(size[copied])) / size[copied]
    clustered[copied] *= damping
    stance[copied] *= damping

    total = np.add.reduceat(clustered, first, axis=1)
    present = np.add.reduceat(size > 0, first, axis=1, dtype=np.int64)
    cap = np.maximum(parameters.cluster_share_cap, 2 / np.maximum(present, 1))
    largest = np.maximum.reduceat(clustered, first, axis=1)
    over = np.flatnonzero((largest > cap * total).any(axis=1))
    if len(over):
        factor = _divide(water_fill(clustered[over], first, cap[over]), clustered[over], 0.0)
        clustered[over] *= factor
        stance[over] *= factor
    return Weighed(
        series=series[starts[first]],
        first=first,
        cluster=cluster[starts],
        weight=clustered,
        stance=stance,
        total=total,
        votes=np.add.reduceat(size, first, axis=1),
        clusters=present,
    )


def _engaged(engagement: Floats, posted: Ints, ends: Ints) -> Floats:
    """Engagement (R, M) as it was known at each end; (M,) where nobody ever looked."""
    if (engagement == 1).all():
        return engagement[:, 2]
    known = np.broadcast_to(engagement[:, 2], (len(ends), len(posted))).copy()
    for step in (0, 1):
        early = hour_end(posted) + step * HOUR
        row = np.minimum(np.searchsorted(ends, early), len(ends) - 1)
        column = np.flatnonzero(ends[row] == early)
        known[row[column], column] = engagement[column, step]
    return known


def water_fill(weight: Floats, first: Ints, cap: Floats) -> Floats:
    """``weight`` (R, K) so shifted that none holds more than the share ``cap`` (R, S) of its series.

    What is cut off flows to the others in proportion, which may lift more of them to the cap. Each series,
    which begins at column ``first``, keeps its total and its order. ``cap`` times the number of positive
    weights must be at least 1.
    """
    width = np.diff(first, append=weight.shape[1])
    total = np.repeat(np.add.reduceat(weight, first, axis=1), width, axis=1)
    limit = np.repeat(cap, width, axis=1) * total
    capped = np.zeros(weight.shape, bool)
    filled = weight
    while (over := ~capped & (filled > limit)).any():
        capped |= over
        left = total - np.repeat(np.add.reduceat(np.where(capped, limit, 0.0), first, axis=1), width, axis=1)
        free = np.repeat(np.add.reduceat(np.where(capped, 0.0, weight), first, axis=1), width, axis=1)
        filled = np.where(capped, limit, weight * _divide(np.maximum(left, 0), free, 0.0))
    return filled


def _divide(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    """The quotient, or ``otherwise`` where the denominator is 0."""
    quotient = np.full(numerator.shape, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
