"""The index and the coins over a time range, from posts to readings."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bizcharts_pipeline.index.coin_readings import CoinRows, Coins
from bizcharts_pipeline.index.market import Grid, Market, read_market
from bizcharts_pipeline.index.people import Response, people_stance
from bizcharts_pipeline.index.readings import WITH_VALUE, index_values, labels_of, states_of
from bizcharts_pipeline.index.stretch import (
    CoinReadings,
    Coverage,
    MarketReadings,
    State,
    between,
)
from bizcharts_pipeline.index.sums import SETTLING_HOURS
from bizcharts_pipeline.index.votes import (
    DAY,
    HOUR,
    Bools,
    Floats,
    Ints,
    Mentions,
    Posts,
    coin_votes,
    market_votes,
)
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.duplicates import MEMORY

METHOD = "filter-3"  # stored with every row; change it with any change of values


def look_back(parameters: FearGreedSettings) -> int:
    """Return the length of the period before a stored state of the index's filters whose posts are needed to continue
    from that state, in microseconds.
    """
    return (SETTLING_HOURS + lead_hours(parameters)) * HOUR + MEMORY


@dataclass(frozen=True)
class Readings:
    """Result of :func:`rebuild`; :meth:`state_at` gives a state to continue from."""

    market: MarketReadings
    coins: CoinReadings
    before: State
    grid: Grid
    read: Market
    followed: Coins
    symbols: tuple[str, ...]
    history_days: int

    def state_at(self, at: int) -> State:
        """Return the state from which the index continues at the end of a day in the range, or at its beginning."""
        if at == self.before.at:
            return self.before
        row = (at - self.before.at) // HOUR  # hours settled at that moment
        ends = self.market.ends[: len(self.market.ends) - self.market.provisional]
        daily = (ends % DAY == 0) & (ends <= at) & ~np.isnan(self.market.raw_stance[: len(ends)])
        day_ends = np.concatenate([self.before.day_ends, ends[daily]])
        day_stances = np.concatenate([self.before.day_stances, self.market.stance[: len(ends)][daily]])
        recent = day_ends > at - self.history_days * DAY
        return State(
            at=at,
            level=self.read.path.at(row),
            symbols=self.symbols,
            deviations=self.followed.trail.at(row, self.grid.begin),
            day_ends=day_ends[recent],
            day_stances=day_stances[recent],
            knowable_at=int(self.market.knowable_at[np.searchsorted(ends, at)]),
        )


def rebuild(
    posts: Posts,
    mentions: Mentions,
    coverage: Coverage,
    state: State,
    until: int,
    parameters: FearGreedSettings,
    *,
    responses: Sequence[Response] = (),
    coins_after: int = 0,
    running: bool = True,
) -> Readings:
    """Compute every hourly reading of the index in ``(state.at, until]``.

    Args:
        posts: all counted posts, from at least :func:`look_back` before ``state.at`` up to ``until``.
        mentions: of these posts.
        coverage: of the same time.
        state: the state at the beginning.
        until: the current moment, or the end of a day.
        responses: of the scoring model to people, as measured on gold, ascending by time.
        coins_after: coins are read at hour ends after this, and in the running hour.
        running: whether to read ``until`` itself too, as the running hour's provisional reading.
    """
    grid = Grid.of(state.at, until, lead_hours(parameters))
    ends = np.arange(state.at + HOUR, until + 1, HOUR, dtype=np.int64)
    first = int(np.searchsorted(ends, coins_after, side="right"))
    if running:
        ends = np.append(ends, until)
    market = read_market(state.level, market_votes(posts), grid, until, parameters.window_hours, running=running)
    symbols = tuple(sorted({*state.symbols, *mentions.symbols}))
    number = {symbol: place for place, symbol in enumerate(symbols)}
    votes = coin_votes(posts, mentions, np.array([number[symbol] for symbol in mentions.symbols], np.int64))
    known = {symbol: place for place, symbol in enumerate(state.symbols)}
    start = state.deviations.of(np.array([known.get(symbol, -1) for symbol in symbols], np.int64))
    coins = Coins(start, votes, grid, market)
    rows = coins.read(first, parameters.coin_window_hours, until, running=running)
    readings = _publish(posts, coverage, state, ends, running, market, responses, parameters)
    live = _all_live(posts, ends, parameters.coin_window_hours)
    return Readings(
        market=readings,
        coins=_coin_readings(rows, live, parameters),
        before=state,
        grid=grid,
        read=market,
        followed=coins,
        symbols=symbols,
        history_days=parameters.history_days,
    )


def _publish(
    posts: Posts,
    coverage: Coverage,
    state: State,
    ends: Ints,
    running: bool,
    market: Market,
    responses: Sequence[Response],
    parameters: FearGreedSettings,
) -> MarketReadings:
    stance = np.clip(market.estimate.mean, -1, 1)
    lo, hi = _interval(market.estimate.mean, market.estimate.variance, parameters)
    wide_lo, wide_hi = _wide_interval(ends, market, lo, hi, responses, parameters)
    daily = daily_ends(ends, market.n, running=running)
    day_ends = np.concatenate([state.day_ends, ends[daily]])
    day_stances = np.concatenate([state.day_stances, stance[daily]])
    values, history = index_values(ends, (stance, lo, hi), day_ends, day_stances, parameters)
    share = coverage.share(ends, parameters.window_hours)
    states = states_of(market.n_eff, history >= parameters.minimum_history_days, share, parameters)
    known = np.maximum.accumulate(np.append(state.knowable_at, posts.known_at))
    seen = np.searchsorted(posts.posted_at, ends, side="right")
    archived = np.maximum.accumulate(coverage.knowable_at(ends, parameters.window_hours))
    given = np.array([state in WITH_VALUE for state in states], bool)
    value, value_lo, value_hi = (np.where(given, column, np.nan) for column in values)
    return MarketReadings(
        ends=ends,
        provisional=running,
        n=market.n,
        n_eff=market.n_eff,
        raw_stance=market.raw_stance,
        stance=stance,
        stance_lo=lo,
        stance_hi=hi,
        stance_wide_lo=wide_lo,
        stance_wide_hi=wide_hi,
        value=value,
        lo=value_lo,
        hi=value_hi,
        label=labels_of(value.tolist()),
        state=states,
        history_days=history,
        coverage=share,
        knowable_at=np.maximum(np.maximum(ends, known[seen]), archived),
        live=_all_live(posts, ends, parameters.window_hours),
    )


def _interval(mean: Floats, variance: Floats, parameters: FearGreedSettings) -> tuple[Floats, Floats]:
    """The equal-tailed interval of a normal distribution, clipped to -1 and 1."""
    reach = NormalDist().inv_cdf((1 + parameters.interval) / 2) * np.sqrt(variance)
    return np.clip(mean - reach, -1, 1), np.clip(mean + reach, -1, 1)


def _wide_interval(
    ends: Ints,
    market: Market,
    lo: Floats,
    hi: Floats,
    responses: Sequence[Response],
    parameters: FearGreedSettings,
) -> tuple[Floats, Floats]:
    """The interval of people's net stance by the newest measurement at each end, widened to include ``lo`` and ``hi``.

    NaN before the first measurement.
    """
    wide_lo, wide_hi = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    place = np.searchsorted([response.since for response in responses], ends, side="right") - 1
    for number, response in enumerate(responses):
        at = place == number
        stance = np.clip(market.estimate.mean[at], -1, 1)
        _, people_lo, people_hi = people_stance(stance, market.estimate.variance[at], response, parameters.interval)
        wide_lo[at], wide_hi[at] = np.minimum(lo[at], people_lo), np.maximum(hi[at], people_hi)
    return wide_lo, wide_hi


def _coin_readings(rows: CoinRows, live: Bools, parameters: FearGreedSettings) -> CoinReadings:
    mean, variance = rows.estimate.mean, rows.estimate.variance
    lo, hi = _interval(mean, variance, parameters)
    score = np.clip(mean, -1, 1)
    return CoinReadings(rows.reading, rows.coin, rows.mentions, rows.n_eff, score, lo, hi, live[rows.reading])


def daily_ends(ends: Ints, n: Ints, *, running: bool) -> Bools:
    """Return which of the index's readings are daily points (R,): those at midnight with a post in the window, but not
    a running hour's.
    """
    return np.asarray((ends % DAY == 0) & (np.arange(len(ends)) < len(ends) - running) & (n > 0))


def lead_hours(parameters: FearGreedSettings) -> int:
    """Return how many hours before the filters' begin the windows of the index's readings reach."""
    return max(parameters.window_hours, parameters.coin_window_hours)


def _all_live(posts: Posts, ends: Ints, window_hours: int) -> Bools:
    window = [ends - window_hours * HOUR, ends]
    begin, stop = np.searchsorted(posts.posted_at, window, side="right")
    return np.asarray(between(~posts.live, begin, stop) == 0)
