"""The coins' current stances: the market's stance plus a mean-reverting deviation for each coin.

A bank of filters as for the market; they differ in the size and half-life of the deviations. Which of them predict best
is learned from all coins together, because a single coin is seldom named. A coin without mentions has the market's
stance with a wide interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bizcharts_pipeline.index.level import (
    FADE,
    FORGET,
    MIN_VARIANCE,
    TEMPER,
    Estimate,
    Noise,
    Prior,
    mixed,
)
from bizcharts_pipeline.index.sums import Sums
from bizcharts_pipeline.index.votes import HOUR, Bools, Floats, Ints

# Chosen, not estimated: half-life of a coin's deviation in hours, and its variance in variances of one post.
_LIVES = np.array([48.0, 480.0])
SPREADS = np.repeat([0.003, 0.01, 0.03, 0.1, 0.3], len(_LIVES))  # all combinations with the half-lives


@dataclass(frozen=True)
class Deviations:
    """State of the filter bank after some hour: per coin at its last mention, and the part shared by all coins."""

    seen: Ints  # (C,) end of the hour of the last mention; 0: never
    mean: Floats  # (C, B)
    variance: Floats  # (C, B)
    evidence: Floats  # (B,)
    noise: Noise

    @staticmethod
    def before(prior: Prior, coins: int) -> "Deviations":
        """Return the state of the coins' filters before the first mention of ``coins`` coins."""
        bank = np.zeros((coins, len(SPREADS)))
        return Deviations(np.zeros(coins, np.int64), bank, bank, np.zeros(len(SPREADS)), Noise.before(prior))

    def of(self, place: Ints) -> "Deviations":
        """Return the filters' state of the coins with indices ``place``, in that order; -1 is a coin that was never
        named.
        """
        # A row of zeros is appended for the index -1.
        seen = np.append(self.seen, 0)[place]
        mean, variance = (np.pad(bank, ((0, 1), (0, 0)))[place] for bank in (self.mean, self.variance))
        return Deviations(seen, mean, variance, self.evidence, self.noise)


@dataclass(frozen=True)
class Cells:
    """Sums of ``K`` pairs of an hour and a coin named in it, ascending by hour, then coin."""

    hour: Ints  # (K,) index of the hour
    coin: Ints  # (K,)
    sums: Sums


@dataclass(frozen=True)
class Trail:
    """The filter bank after each settled cell, and the shared state after each hour."""

    start: Deviations
    cells: Cells  # settled
    mean: Floats  # (K, B)
    variance: Floats  # (K, B)
    evidence: Floats  # (H + 1, B)
    post_variance: Floats  # (H + 1,)
    error: Floats  # (H + 1,)
    noise: list[Noise]  # H + 1

    @cached_property
    def _by_coin(self) -> tuple[Ints, Ints]:
        """The cells' order by coin and hour, and their keys in that order."""
        order = np.lexsort((self.cells.hour, self.cells.coin))
        return order, self.cells.coin[order] * len(self.evidence) + self.cells.hour[order]

    def last_cells(self, hour: Ints, coin: Ints) -> Ints:
        """Return the last cell of each ``coin`` that its filters have seen at or before each ``hour`` (-1 to H - 1); -1
        if there is none.
        """
        order, keys = self._by_coin
        if not len(order):
            return np.full(len(hour), -1, np.int64)
        place = np.searchsorted(keys, coin * len(self.evidence) + hour, side="right") - 1
        found = order[np.maximum(place, 0)]
        return np.where((place >= 0) & (self.cells.coin[found] == coin), found, -1)

    def at(self, row: int, begin: int) -> Deviations:
        """Return the state of the coins' filters after ``row`` hours since ``begin``."""
        coins = len(self.start.seen)
        last = self.last_cells(np.full(coins, row - 1), np.arange(coins))
        new = last >= 0
        seen, mean, variance = self.start.seen.copy(), self.start.mean.copy(), self.start.variance.copy()
        seen[new] = begin + (self.cells.hour[last[new]] + 1) * HOUR
        mean[new], variance[new] = self.mean[last[new]], self.variance[last[new]]
        return Deviations(seen, mean, variance, self.evidence[row].copy(), self.noise[row])


def follow_coins(start: Deviations, cells: Cells, market: Floats, begin: int) -> Trail:
    """Run the coins' filters over the settled ``cells``; ``market`` (H + 1,) is the market's stance after each hour.

    Hour number h ends h + 1 hours after ``begin``; the market's stance after it is ``market[h + 1]``.
    """
    hours, bank = len(market) - 1, len(SPREADS)
    borders = np.searchsorted(cells.hour, np.arange(hours + 1)).tolist()
    deviation, square, weight = _hourly_noise(cells, market, hours)
    noise = [start.noise]
    for amounts in zip(deviation, square, weight, strict=True):
        noise.append(Noise(*(FADE * old + new for old, new in zip(_sums(noise[-1]), amounts, strict=True))))
    post = np.array([max(one.deviation / one.square, MIN_VARIANCE) for one in noise])
    error = post * np.array([one.square / one.weight for one in noise])
    shift = cells.sums.mean - market[cells.hour + 1]
    means, variances = np.empty((len(cells.hour), bank)), np.empty((len(cells.hour), bank))
    evidence = np.empty((hours + 1, bank))
    evidence[0] = start.evidence
    seen, mean, variance = start.seen.copy(), start.mean.copy(), start.variance.copy()
    for hour, (first, stop) in enumerate(pairwise(borders)):
        evidence[hour + 1] = evidence[hour]
        if first == stop:
            continue
        now, coin = begin + (hour + 1) * HOUR, cells.coin[first:stop]
        before = _carried(mean[coin], variance[coin], now - seen[coin], seen[coin] > 0, post[hour + 1])
        ratio = error[hour + 1] / cells.sums.weight[first:stop, None]
        total = before[1] + ratio
        miss = shift[first:stop, None] - before[0]
        loss = (np.log(total) + miss * miss / total).sum(axis=0)
        evidence[hour + 1] = FORGET * evidence[hour] - (TEMPER / 2) * loss
        means[first:stop] = before[0] + before[1] / total * miss
        variances[first:stop] = before[1] * (ratio / total)
        seen[coin], mean[coin], variance[coin] = now, means[first:stop], variances[first:stop]
    return Trail(start, cells, means, variances, evidence, post, error, noise)


def estimate_coins(
    trail: Trail,
    market: Estimate,
    place: Ints,
    coin: Ints,
    settled: Ints,
    moment: Ints,
    begin: int,
    unsettled: list[tuple[Ints, Floats, Floats]],
) -> Estimate:
    """Estimate the stance of ``coin`` (Q,) at ``moment`` (Q,), from the trail and the hours that are not settled yet.

    Args:
        trail: of the settled cells.
        market: the market's estimates.
        place: (Q,) index of the market's estimate at that moment.
        coin: (Q,)
        settled: (Q,) number of hours of the trail that are settled at the moment.
        moment: (Q,)
        begin: start of the trail's first hour.
        unsettled: for each of the last hours its end, and the coin's weight and mean stance in it, each (Q,).
    """
    last = trail.last_cells(settled - 1, coin)
    new = (last >= 0)[:, None]
    many = len(trail.mean) > 0
    mean = np.where(new, trail.mean[last], trail.start.mean[coin]) if many else trail.start.mean[coin]
    variance = np.where(new, trail.variance[last], trail.start.variance[coin]) if many else trail.start.variance[coin]
    hour = trail.cells.hour[last] if many else last
    at = np.where(last >= 0, begin + (hour + 1) * HOUR, trail.start.seen[coin])
    known = at > 0
    post, error = trail.post_variance[settled], trail.error[settled]
    for end, weight, stance in unsettled:
        seen = np.flatnonzero(weight > 0)
        before = _carried(mean[seen], variance[seen], (end - at)[seen], known[seen], post[seen])
        gain = before[1] / (before[1] + (error[seen] / weight[seen])[:, None])
        mean[seen] = before[0] + gain * ((stance - market.mean[place])[seen, None] - before[0])
        variance[seen] = before[1] * (1 - gain)
        at[seen], known[seen] = end[seen], True
    mean, variance = _carried(mean, variance, moment - at, known, post)
    middle, spread = mixed(mean, variance, trail.evidence[settled])
    return Estimate(market.mean[place] + middle, market.variance[place] + spread)


def _carried(
    mean: Floats, variance: Floats, elapsed: Ints, known: Bools, post: Floats | float
) -> tuple[Floats, Floats]:
    """The bank (Q, B) after ``elapsed`` time: deviations decay, and their variance returns to its stationary value."""
    each = np.where(known[:, None], np.exp2(-elapsed[:, None] / (_LIVES * HOUR)), 0.0)
    keep = np.tile(each, len(SPREADS) // len(_LIVES))
    stationary = SPREADS * np.asarray(post).reshape(-1, 1)
    return keep * mean, keep**2 * (variance - stationary) + stationary


def _hourly_noise(cells: Cells, market: Floats, hours: int) -> Iterator[list[float]]:
    """The three noise sums of each hour; deviations are from the market's stance."""
    deviation = cells.sums.deviation(market[cells.hour + 1])
    columns = (deviation, cells.sums.square, cells.sums.weight)
    return (np.bincount(cells.hour, column, hours).tolist() for column in columns)


def _sums(noise: Noise) -> tuple[float, float, float]:
    return noise.deviation, noise.square, noise.weight
