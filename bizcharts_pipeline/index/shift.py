"""By how much another scoring model would move the index: both models' readings of the same posts.

Both filters begin before the first of these posts, each with its scorer's base rate, and each present stance is ranked
among its own daily points. Daily points older than the posts are known of the present model only; for the other model
they are moved and stretched by what makes its hourly stances over these posts have the mean and the spread of those of
the present one. If there are no older points, the values are exactly those of an index that begins with these posts.

The interval is a percentile bootstrap (Efron 1979) over groups of near-duplicates, the same resamples for both models.
It covers the sample of posts, and not the error of the older points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bizcharts_pipeline.index.level import Level, Prior
from bizcharts_pipeline.index.market import Grid, read_market
from bizcharts_pipeline.index.readings import index_values
from bizcharts_pipeline.index.series import daily_ends, lead_hours
from bizcharts_pipeline.index.votes import DAY, HOUR, Bools, Floats, Ints, Posts, Votes, market_votes
from bizcharts_pipeline.settings import FearGreedSettings

RESAMPLES = 200


@dataclass(frozen=True)
class Says:
    """What one model says of ``P`` posts, and of a post without words."""

    stance: Floats  # (P,)
    confidence: Floats  # (P,)
    prior: Prior


@dataclass(frozen=True)
class DailyPoints:
    """Stances at the ends of days, ascending, of ``D`` days."""

    ends: Ints  # (D,)
    stances: Floats  # (D,)


@dataclass(frozen=True)
class Shift:
    """The present stance and index value by the present model and by another one; ``None``: there is no value."""

    stances: tuple[float, float]
    values: tuple[float, float] | None
    points: float | None  # second value less the first, 0 to 100 each
    lo: float | None  # interval of the points, with the probability of the setting ``interval``
    hi: float | None
    mapped_days: int  # daily points in the ranking that are older than the posts


@dataclass(frozen=True)
class _Reading:
    ends: Ints  # (R,) the last is the present
    stance: Floats  # (R,)
    daily: Bools  # (R,)
    n_eff: float  # of the present window


def measure_shift(
    posts: Posts,
    present: Says,
    other: Says,
    earlier: DailyPoints,
    until: int,
    parameters: FearGreedSettings,
    seed: int,
) -> Shift:
    """Measure by how much another model shifts the index at ``until`` (microseconds UTC).

    Args:
        posts: at least one, made at or before ``until``; their own stances are not used.
        present: of these posts, by the model whose index is published.
        other: of the same posts, by the model that would replace it.
        earlier: daily points by the present model, up to the first day of ``posts``.
        seed: of the resamples.
    """
    says = (present, other)
    votes = [market_votes(replace(posts, stance=one.stance, confidence=one.confidence)) for one in says]
    begin = int(posts.posted_at[0]) // DAY * DAY
    earlier = DailyPoints(earlier.ends[earlier.ends <= begin], earlier.stances[earlier.ends <= begin])

    def read(votes: Sequence[Votes]) -> tuple[_Reading, _Reading]:
        one, two = (_read(each, say.prior, begin, until, parameters) for each, say in zip(votes, says, strict=True))
        return one, two

    def values(one: _Reading, two: _Reading) -> tuple[float, float, int]:
        value, days = _ranked(one, earlier, parameters)
        return value, _ranked(two, _mapped(earlier, one, two, begin), parameters)[0], days

    readings = read(votes)
    stances = (float(readings[0].stance[-1]), float(readings[1].stance[-1]))
    old_value, new_value, days = values(*readings)
    mapped = int((earlier.ends > -(-until // DAY) * DAY - parameters.history_days * DAY).sum())
    enough = min(reading.n_eff for reading in readings) >= parameters.no_reading_below
    if not enough or days < parameters.minimum_history_days:
        return Shift(stances, None, None, None, None, mapped)
    points = new_value - old_value
    draw = np.random.default_rng(seed)
    differences = []
    for _ in range(RESAMPLES):
        chosen, group = _resample(posts.cluster, draw)
        old, new, _ = values(*read([_part(one, chosen, group) for one in votes]))
        differences.append(new - old)
    tail = (1 - parameters.interval) / 2
    lo, hi = np.quantile(differences, [tail, 1 - tail]).tolist()
    # A rank is no linear function of the posts, so all resamples may lie to one side of the estimate.
    return Shift(stances, (old_value, new_value), points, min(lo, points), max(hi, points), mapped)


def _read(votes: Votes, prior: Prior, begin: int, until: int, parameters: FearGreedSettings) -> _Reading:
    grid = Grid.of(begin, until, lead_hours(parameters))
    market = read_market(Level.before(prior), votes, grid, until, parameters.window_hours, running=True)
    ends = np.append(np.arange(begin + HOUR, until + 1, HOUR, dtype=np.int64), until)
    stance = np.clip(market.estimate.mean, -1, 1)
    return _Reading(ends, stance, daily_ends(ends, market.n, running=True), float(market.n_eff[-1]))


def _mapped(earlier: DailyPoints, present: _Reading, other: _Reading, begin: int) -> DailyPoints:
    """The earlier points as the other model would have them: same place relative to mean and spread of the hours."""
    settled = present.ends > min(begin + DAY, int(present.ends[-1]) - 1)  # the filters have left their prior
    old, new = present.stance[settled], other.stance[settled]
    spread = float(old.std())
    stretch = float(new.std()) / spread if spread > 0 else 1.0
    return DailyPoints(earlier.ends, new.mean() + stretch * (earlier.stances - old.mean()))


def _ranked(reading: _Reading, earlier: DailyPoints, parameters: FearGreedSettings) -> tuple[float, int]:
    """The index value of the present, and the number of daily points that it is ranked in."""
    ends = np.concatenate([earlier.ends, reading.ends[reading.daily]])
    stances = np.concatenate([earlier.stances, reading.stance[reading.daily]])
    (value,), days = index_values(reading.ends[-1:], (reading.stance[-1:],), ends, stances, parameters)
    return float(value[0]), int(days[0])


def _resample(groups: Ints, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw as many groups as there are, with replacement: places of their posts, ascending, and a new number for each
    drawn group."""
    names, group = np.unique(groups, return_inverse=True)
    times = np.bincount(draw.integers(0, len(names), len(names)), minlength=len(names))[group]
    places = np.repeat(np.arange(len(groups)), times)
    nth = np.arange(len(places)) - np.repeat(np.cumsum(times) - times, times)
    return places, group[places] * (len(names) + 1) + nth


def _part(votes: Votes, places: Ints, groups: Ints) -> Votes:
    return Votes(
        posted_at=votes.posted_at[places],
        series=votes.series[places],
        cluster=groups,
        copy=votes.copy[places],
        stance=votes.stance[places],
        weight=votes.weight[places],
        engagement=votes.engagement[places],
    )
