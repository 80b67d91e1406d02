"""The previous estimator: a daily mean, shrunk, exponentially smoothed, with a bootstrap interval.

Kept unchanged for comparison; used only by the benchmarks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.votes import DAY, HOUR, Floats, Ints, Posts, Votes, market_votes

NORMAL_MOOD_DAYS = 30


@dataclass(frozen=True)
class Parameters:
    """The estimator's default parameters."""

    window_hours: int = 24
    recency_half_life_hours: float = 12
    cluster_share_cap: float = 0.05
    shrinkage_posts: float = 10
    smoothing_half_life_hours: float = 24
    replicates: int = 400
    interval: float = 0.9


def smoothed_average(posts: Posts, ends: Ints) -> tuple[Floats, Floats, Floats]:
    """Return stance, lo and hi at each of the hourly ``ends``; 0 before the first post."""
    parameters, votes = Parameters(), market_votes(posts)
    raw, n_eff, shares = np.zeros(len(ends)), np.zeros(len(ends)), []
    for first in range(0, len(ends), 24):
        rows = slice(first, first + 24)
        weighed = weigh(votes, ends[rows], parameters.window_hours, parameters)
        raw[rows], n_eff[rows] = weighed.mean[:, 0], weighed.n_eff[:, 0]
        shares.append(deviations(weighed, 0, np.arange(len(ends[rows])), parameters.replicates))
    trust = n_eff / (n_eff + parameters.shrinkage_posts)
    read = n_eff > 0
    raw = np.where(read, raw, 0.0)
    running, counted = (np.concatenate([[0.0], np.cumsum(column)]) for column in (raw, read))
    begin = np.maximum(np.arange(len(ends)) - NORMAL_MOOD_DAYS * DAY // HOUR, 0)
    count = counted[np.arange(len(ends))] - counted[begin]
    normal = (running[np.arange(len(ends))] - running[begin]) / np.maximum(count, 1)
    shrunk = trust * raw + (1 - trust) * normal
    deviation = np.concatenate(shares) * trust[:, None].astype(np.float32)
    step = 1 - 2 ** (-1 / parameters.smoothing_half_life_hours)
    stance, smooth = shrunk.copy(), deviation.copy()
    for row in range(1, len(ends)):
        if not read[row]:
            stance[row], smooth[row] = stance[row - 1], smooth[row - 1]
            continue
        stance[row] = stance[row - 1] + step * (shrunk[row] - stance[row - 1])
        smooth[row] = smooth[row - 1] + np.float32(step) * (deviation[row] - smooth[row - 1])
    lo, hi = bounds(smooth, parameters.interval)
    return stance, np.clip(stance + np.minimum(lo, 0), -1, 1), np.clip(stance + np.maximum(hi, 0), -1, 1)


def _hour_end(times: Ints) -> Ints:
    return -(-times // HOUR) * HOUR


@dataclass(frozen=True)
class Weighed:
    """The votes of ``R`` windows, summed by ``K`` pairs of series and cluster, for ``S`` series.

    Columns are sorted by (series, cluster). A cluster without a vote in a window has weight 0 there.
    """

    series: Ints  # (S,)
    first: Ints  # (S,) first column of each series
    cluster: Ints  # (K,)
    weight: Floats  # (R, K)
    stance: Floats  # (R, K) weight times stance
    total: Floats  # (R, S) weight
    votes: Ints  # (R, S)
    clusters: Ints  # (R, S) with a vote

    @cached_property
    def mean(self) -> Floats:
        """Weighted mean stance (R, S); NaN without votes."""
        return _divide(np.add.reduceat(self.stance, self.first, axis=1), self.total, np.nan)

    @cached_property
    def n_eff(self) -> Floats:
        """Kish's effective sample size (R, S): (sum w)^2 / sum w^2.

        Over clusters, not votes: ten copies are one opinion, regardless of their total weight.
        """
        return _divide(self.total**2, np.add.reduceat(self.weight**2, self.first, axis=1), 0.0)


def weigh(votes: Votes, ends: Ints, window_hours: int, parameters: Parameters) -> Weighed:
    """Weigh the votes of the windows ``(end - window, end]``; ``ends`` (R,) are ascending."""
    window = window_hours * HOUR
    begin, stop = np.searchsorted(votes.posted_at, [ends[0] - window, ends[-1]], side="right")
    if begin == stop:
        no_series, no_floats, no_ints = votes.series[:0], np.zeros((len(ends), 0)), np.zeros((len(ends), 0), np.int64)
        return Weighed(no_series, no_series, no_series, no_floats, no_floats, no_floats, no_ints, no_ints)
    order = begin + np.lexsort((votes.cluster[begin:stop], votes.series[begin:stop]))
    series, cluster, posted = votes.series[order], votes.cluster[order], votes.posted_at[order]

    inside = (posted <= ends[:, None]) & (posted > ends[:, None] - window)
    # Only ratios of weights matter, so recency is relative to the last end for all of them.
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
        factor = _divide(_water_fill(clustered[over], first, cap[over]), clustered[over], 0.0)
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
    """Return the engagement (R, M) as known at each end; (M,) if there were no observations."""
    if (engagement == 1).all():
        return engagement[:, 2]
    known = np.broadcast_to(engagement[:, 2], (len(ends), len(posted))).copy()
    for step in (0, 1):
        early = _hour_end(posted) + step * HOUR
        row = np.minimum(np.searchsorted(ends, early), len(ends) - 1)
        column = np.flatnonzero(ends[row] == early)
        known[row[column], column] = engagement[column, step]
    return known


def _water_fill(weight: Floats, first: Ints, cap: Floats) -> Floats:
    """Return ``weight`` (R, K) redistributed so that none exceeds the share ``cap`` (R, S) of its series.

    The excess is distributed to the others in proportion, which may lift more of them to the cap. Each series, which
    starts at column ``first``, keeps its total and its order. ``cap`` times the number of positive weights must be at
    least 1.
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
    """Return the quotient, or ``otherwise`` where the denominator is 0."""
    quotient = np.full(numerator.shape, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


Replicates = NDArray[np.float32]
Words = NDArray[np.uint64]

SEED = 20_190_601
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Exp(1) at the midpoints of 65,536 equally likely steps: 16 random bits give one multiplier.
_EXPONENTIAL = (-np.log((np.arange(65_536) + 0.5) / 65_536)).astype(np.float32)


def multipliers(clusters: Ints, replicates: int) -> Replicates:
    """Return Exp(1) multipliers (len(clusters), replicates).

    A row depends only on its cluster's id, not on other clusters or on how the posts were split into runs. It is a
    stream of SplitMix64 (Steele, Lea and Flood 2014), evaluated at its counter.
    """
    key = _mix(clusters.astype(np.uint64) + np.uint64((SEED * _GOLDEN) % 2**64))
    steps = np.arange(1, -(-replicates // 4) + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    words = _mix(key[:, None] + steps)
    drawn: Replicates = _EXPONENTIAL.take(words.view(np.uint16)[:, :replicates], mode="clip")
    return drawn


def _mix(words: Words) -> Words:
    words ^= words >> np.uint64(30)
    words *= _MIX_1
    words ^= words >> np.uint64(27)
    words *= _MIX_2
    words ^= words >> np.uint64(31)
    return words


def deviations(weighed: Weighed, column: int, rows: Ints, replicates: int) -> Replicates:
    """Return replicated minus actual mean stance of one series, by its index: (len(rows), replicates).

    0 if the window has no vote.
    """
    if not replicates:
        return np.zeros((len(rows), 0), np.float32)
    stop = weighed.first[column + 1] if column + 1 < len(weighed.first) else len(weighed.cluster)
    block = slice(weighed.first[column], stop)
    weight, stance = weighed.weight[rows, block], weighed.stance[rows, block]
    total = weight.sum(axis=1, keepdims=True)
    mean = np.divide(stance.sum(axis=1, keepdims=True), total, out=np.zeros_like(total), where=total > 0)
    # Centred before rounding to single precision, and scaled to make the denominator close to 1.
    scale = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    random = multipliers(weighed.cluster[block], replicates)
    numerator = ((stance - mean * weight) * scale).astype(np.float32) @ random
    denominator = (weight * scale).astype(np.float32) @ random
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0))


def bounds(deviation: Replicates, mass: float) -> tuple[Floats, Floats]:
    """Return the equal-tailed quantiles that contain ``mass`` of each row, linearly interpolated: two of (rows,).

    NaN without replicates.
    """
    if not deviation.shape[1]:
        return np.full(len(deviation), np.nan), np.full(len(deviation), np.nan)
    ordered = np.sort(deviation, axis=1)
    last = ordered.shape[1] - 1
    edges = []
    for probability in ((1 - mass) / 2, (1 + mass) / 2):
        below = min(int(probability * last), last - 1)
        part = probability * last - below
        edges.append(ordered[:, below] * (1 - part) + ordered[:, below + 1] * part)
    return edges[0].astype(np.float64), edges[1].astype(np.float64)
