"""The index and the coins over a stretch of time, from posts to readings, a UTC day at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.index.bootstrap import Replicates, bounds, deviations
from bizcharts_pipeline.index.readings import NO_READING, index_values, labels_of, states_of
from bizcharts_pipeline.index.votes import (
    DAY,
    HOUR,
    Bools,
    Floats,
    Ints,
    Mentions,
    Posts,
    Votes,
    coin_votes,
    market_votes,
)
from bizcharts_pipeline.index.weights import weigh
from bizcharts_pipeline.settings import FearGreedSettings

NORMAL_MOOD_DAYS = 30  # the mean of so many days is what small samples are shrunk towards
GAP = DAY  # after a longer one the smoothing starts afresh
WARM_UP = 5 * DAY  # what an incremental run recomputes, so that its intervals carry the errors of the days before
FEWEST_MENTIONS = 5  # a coin with fewer has no score
FEWEST_CLUSTERS = 2  # nor has one that is named by copies of a single post: nothing could vary
COIN_REPLICATES = 400  # at most; there are many coins


@dataclass(frozen=True)
class Coverage:
    """What is known of the collection, hour by hour: ``H`` hours, the first of which starts at ``start``."""

    start: int
    covered: Bools  # (H,) polled at least once, or of a day that the archive gave completely
    known: Bools  # (H,) the hour could have been covered: polling had begun, or the archive was asked

    def share(self, ends: Ints, hours: int) -> Floats:
        """Covered share of the last ``hours`` hours at each end, a running one included; NaN: not known."""
        stop = np.clip(-(-(ends - self.start) // HOUR), 0, len(self.covered))
        begin = np.clip(stop - hours, 0, None)
        known = _between(self.known, begin, stop)
        return np.where(known > 0, _between(self.covered, begin, stop) / hours, np.nan)


@dataclass(frozen=True)
class State:
    """What a stretch needs to know of the readings up to ``at`` (a day's end)."""

    at: int
    hour_ends: Ints  # of the last 30 days' readings
    raw_stances: Floats
    day_ends: Ints  # of the last history_days' daily points
    day_stances: Floats
    smoothed: float = 0.0  # stance of the last reading
    smoothed_at: int | None = None  # None: there was none
    deviation: Replicates | None = None  # replicated minus actual smoothed stance; None: not known
    label: str | None = None
    knowable_at: int = 0  # of the last reading

    @staticmethod
    def nothing(at: int) -> "State":
        """Before the first post."""
        none = np.empty(0)
        return State(at, none.astype(np.int64), none, none.astype(np.int64), none)


@dataclass(frozen=True)
class MarketReadings:
    """``R`` hourly readings, ascending; the last is the running hour's if ``provisional``. NaN: none."""

    ends: Ints  # (R,)
    provisional: bool
    n: Ints
    n_eff: Floats
    raw_stance: Floats
    stance: Floats
    stance_lo: Floats
    stance_hi: Floats
    value: Floats
    lo: Floats
    hi: Floats
    label: list[str | None]
    state: list[str]
    coverage: Floats
    knowable_at: Ints
    live: Bools  # every post of the window was seen on the board


@dataclass(frozen=True)
class CoinReadings:
    """One row for every coin that the window of a reading names."""

    reading: Ints  # (C,) place in the market's readings
    coin: Ints  # (C,) place in the mentions' symbols
    mentions: Ints
    n_eff: Floats
    score: Floats
    lo: Floats
    hi: Floats
    live: Bools  # every post of the coins' window was seen on the board


@dataclass(frozen=True)
class Readings:
    """What :func:`rebuild` gives; ``state`` continues it."""

    market: MarketReadings
    coins: CoinReadings
    state: State


def rebuild(
    posts: Posts,
    mentions: Mentions,
    coverage: Coverage,
    state: State,
    until: int,
    parameters: FearGreedSettings,
    *,
    coins_after: int = 0,
    running: bool = True,
) -> Readings:
    """Compute every hourly reading in ``(state.at, until]``.

    Args:
        posts: all that count, from at least the longest window before ``state.at`` up to ``until``.
        mentions: of these posts.
        state: what came before.
        until: the present, or a day's end.
        coins_after: coins are read at the ends after this, and in the running hour.
        running: whether ``until`` itself is read too, as the running hour's provisional reading.
    """
    ends = np.arange(state.at + HOUR, until + 1, HOUR, dtype=np.int64)
    if running:
        ends = np.append(ends, until)
    everyone, named = market_votes(posts), coin_votes(posts, mentions)
    market, coins = _Market(state, parameters, len(ends)), _Coins(parameters)
    new = (ends > coins_after) | (running & (np.arange(len(ends)) == len(ends) - 1))
    for rows in _days(ends):
        replicated = market.read(rows, ends[rows], everyone)
        wanted = np.flatnonzero(new[rows])
        if len(wanted) and len(named.posted_at):
            coins.read(rows.start + wanted, ends[rows][wanted], named, replicated[wanted])
    anchor = market.shrunk(ends)
    readings = _publish(posts, coverage, state, ends, running, market, anchor, parameters)
    live = _all_live(posts, ends, parameters.coin_window_hours)
    return Readings(readings, coins.readings(anchor, live), _continue(state, readings, market, parameters))


class _Market:
    """The market's readings while they are gathered, day by day."""

    def __init__(self, state: State, parameters: FearGreedSettings, size: int) -> None:
        self.state, self.parameters = state, parameters
        self.n = np.zeros(size, np.int64)
        self.n_eff, self.raw = np.zeros(size), np.full(size, np.nan)
        self.step = np.zeros(size)  # how far the smoothed stance moves towards the reading
        self.lo, self.hi = np.zeros(size), np.zeros(size)
        self.read_at = state.smoothed_at
        unknown = np.zeros(parameters.replicates, np.float32)
        self.deviation = unknown if state.deviation is None else state.deviation

    def read(self, rows: slice, ends: Ints, votes: Votes) -> Replicates:
        """Read the windows that end at ``ends``; return the shrunk means' deviations (rows, replicates)."""
        weighed = weigh(votes, ends, self.parameters.window_hours, self.parameters)
        if not len(weighed.cluster):
            return np.zeros((len(ends), self.parameters.replicates), np.float32)
        self.n[rows], self.n_eff[rows], self.raw[rows] = (
            weighed.votes[:, 0],
            weighed.n_eff[:, 0],
            weighed.mean[:, 0],
        )
        trust = self.n_eff[rows] / (self.n_eff[rows] + self.parameters.shrinkage_posts)
        everything = np.arange(len(ends))
        deviation = deviations(weighed, 0, everything, self.parameters.replicates)
        deviation *= trust[:, None].astype(np.float32)
        smoothed = np.zeros_like(deviation)
        for row, end in enumerate(ends.tolist()):
            if self.n[rows.start + row]:
                step = self._step(end)
                self.step[rows.start + row], self.read_at = step, end
                self.deviation = self.deviation + np.float32(step) * (deviation[row] - self.deviation)
            smoothed[row] = self.deviation
        self.lo[rows], self.hi[rows] = bounds(smoothed, self.parameters.interval)
        return deviation

    def _step(self, end: int) -> float:
        """1 - 2^(-dt / half-life), or all of the way after a gap."""
        if self.read_at is None or end - self.read_at > GAP:
            return 1.0
        return float(1 - 2 ** (-(end - self.read_at) / (self.parameters.smoothing_half_life_hours * HOUR)))

    def shrunk(self, ends: Ints) -> Floats:
        """S~ (R,): the means shrunk towards the normal mood, the mean of the 30 days' readings before.

        The normal mood alone where the window has no post, and 0 where there is no reading in those 30 days
        either.
        """
        times = np.concatenate([self.state.hour_ends, ends])
        stances = np.concatenate([self.state.raw_stances, self.raw])
        begin, stop = np.searchsorted(times, [ends - NORMAL_MOOD_DAYS * DAY, ends])
        count = _between(~np.isnan(stances), begin, stop)
        normal = _between(np.nan_to_num(stances), begin, stop) / np.maximum(count, 1)
        pull = self.parameters.shrinkage_posts
        total = self.n_eff + pull
        pulled = (self.n_eff * np.nan_to_num(self.raw) + pull * normal) / np.where(total > 0, total, 1)
        return np.where(self.n > 0, pulled, normal)

    def smoothed(self, shrunk: Floats) -> Floats:
        """E (R,): the exponentially smoothed S~; NaN where the window has no post."""
        smoothed = np.full(len(shrunk), np.nan)
        last = self.state.smoothed
        for row in np.flatnonzero(self.n).tolist():
            last += float(self.step[row]) * (float(shrunk[row]) - last)
            smoothed[row] = last
        return smoothed


class _Coins:
    """The coins' readings while they are gathered, day by day."""

    def __init__(self, parameters: FearGreedSettings) -> None:
        self.parameters = parameters
        self.replicates = min(parameters.replicates, COIN_REPLICATES)
        self.parts: list[tuple[Ints, Ints, Ints, Floats, Floats, Floats, Floats]] = []

    def read(self, rows: Ints, ends: Ints, votes: Votes, market: Replicates) -> None:
        """Read the windows that end at ``ends``; ``market``: deviations of what coins are shrunk towards."""
        weighed = weigh(votes, ends, self.parameters.coin_window_hours, self.parameters)
        if not len(weighed.cluster):
            return
        n_eff, lo, hi = (
            weighed.n_eff,
            np.full(weighed.votes.shape, np.nan),
            np.full(weighed.votes.shape, np.nan),
        )
        enough = (weighed.votes >= FEWEST_MENTIONS) & (weighed.clusters >= FEWEST_CLUSTERS)
        for column in np.flatnonzero(enough.any(axis=0)).tolist():
            scored = np.flatnonzero(enough[:, column])
            trust = self._trust(n_eff[scored, column])[:, None].astype(np.float32)
            own = deviations(weighed, column, scored, self.replicates)
            deviation = trust * own + (1 - trust) * market[scored, : self.replicates]
            lo[scored, column], hi[scored, column] = bounds(deviation, self.parameters.interval)
        row, column_of = np.nonzero(weighed.votes)
        cells = (row, column_of)
        self.parts.append(
            (
                rows[row],
                weighed.series[column_of],
                weighed.votes[cells],
                n_eff[cells],
                weighed.mean[cells],
                lo[cells],
                hi[cells],
            )
        )

    def _trust(self, n_eff: Floats) -> Floats:
        return n_eff / (n_eff + self.parameters.coin_shrinkage_posts)

    def readings(self, anchor: Floats, live: Bools) -> CoinReadings:
        """The coins' readings, shrunk towards the market's ``anchor`` S~ (R,)."""
        none = (np.empty(0, np.int64),) * 3 + (np.empty(0),) * 4
        reading, coin, mentions, n_eff, mean, lo, hi = map(np.concatenate, zip(none, *self.parts, strict=True))
        trust = self._trust(n_eff)
        score = np.where(np.isnan(lo), np.nan, trust * mean + (1 - trust) * anchor[reading])
        return CoinReadings(reading, coin, mentions, n_eff, score, *_around(score, lo, hi), live[reading])


def _publish(
    posts: Posts,
    coverage: Coverage,
    state: State,
    ends: Ints,
    running: bool,
    market: _Market,
    anchor: Floats,
    parameters: FearGreedSettings,
) -> MarketReadings:
    stance = market.smoothed(anchor)
    lo, hi = _around(stance, market.lo, market.hi)
    daily = (ends % DAY == 0) & (np.arange(len(ends)) < len(ends) - running) & ~np.isnan(stance)
    day_ends = np.concatenate([state.day_ends, ends[daily]])
    day_stances = np.concatenate([state.day_stances, stance[daily]])
    values, calibrated = index_values(ends, (stance, lo, hi), day_ends, day_stances, parameters)
    share = coverage.share(ends, parameters.window_hours)
    states = states_of(market.n_eff, calibrated, share, parameters)
    silent = np.array([state == NO_READING for state in states])
    value, value_lo, value_hi = (np.where(silent, np.nan, column) for column in values)
    ingested = np.maximum.accumulate(np.append(state.knowable_at, posts.known_at))
    seen = np.searchsorted(posts.posted_at, ends, side="right")
    return MarketReadings(
        ends=ends,
        provisional=running,
        n=market.n,
        n_eff=market.n_eff,
        raw_stance=market.raw,
        # Where the window has no post, the mood is not known to be other than normal.
        stance=np.where(np.isnan(stance), anchor, stance),
        stance_lo=lo,
        stance_hi=hi,
        value=value,
        lo=value_lo,
        hi=value_hi,
        label=labels_of(value.tolist(), state.label),
        state=states,
        coverage=share,
        knowable_at=np.maximum(ends, ingested[seen]),
        live=_all_live(posts, ends, parameters.window_hours),
    )


def _continue(state: State, readings: MarketReadings, market: _Market, parameters: FearGreedSettings) -> State:
    """The state after the readings' last complete hour; of use where that is a day's end."""
    whole = slice(0, len(readings.ends) - readings.provisional)
    ends, stance = readings.ends[whole], readings.stance[whole]
    if not len(ends):
        return state
    at = int(ends[-1])
    read = ~np.isnan(readings.raw_stance[whole])
    daily = read & (ends % DAY == 0)
    hour_ends = np.concatenate([state.hour_ends, ends[read]])
    day_ends = np.concatenate([state.day_ends, ends[daily]])
    recent, known = hour_ends > at - NORMAL_MOOD_DAYS * DAY, day_ends > at - parameters.history_days * DAY
    return State(
        at=at,
        hour_ends=hour_ends[recent],
        raw_stances=np.concatenate([state.raw_stances, readings.raw_stance[whole][read]])[recent],
        day_ends=day_ends[known],
        day_stances=np.concatenate([state.day_stances, stance[daily]])[known],
        smoothed=float(stance[read][-1]) if read.any() else state.smoothed,
        smoothed_at=int(ends[read][-1]) if read.any() else state.smoothed_at,
        deviation=market.deviation,
        label=readings.label[whole][-1],
        knowable_at=int(readings.knowable_at[whole][-1]),
    )


def _around(stance: Floats, lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """The bounds of a stance from those of its error; they hold the stance and are stances themselves."""
    return np.clip(stance + np.minimum(lo, 0), -1, 1), np.clip(stance + np.maximum(hi, 0), -1, 1)


def _days(ends: Ints) -> Iterator[slice]:
    """The rows of each UTC day, (midnight, midnight]."""
    turns = np.flatnonzero(np.diff(-(-ends // DAY), prepend=-1)).tolist()
    for begin, stop in zip(turns, [*turns[1:], len(ends)], strict=True):
        yield slice(begin, stop)


def _all_live(posts: Posts, ends: Ints, window_hours: int) -> Bools:
    window = [ends - window_hours * HOUR, ends]
    begin, stop = np.searchsorted(posts.posted_at, window, side="right")
    return np.asarray(_between(~posts.live, begin, stop) == 0)


def _between(amounts: Floats | Bools, begin: Ints, stop: Ints) -> Floats:
    """Sums of ``amounts[begin:stop]`` for arrays of borders."""
    running = np.concatenate([[0.0], np.cumsum(amounts, dtype=np.float64)])
    return np.asarray(running[stop] - running[begin])
