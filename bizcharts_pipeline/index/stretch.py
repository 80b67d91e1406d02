"""What goes into a stretch of readings and what comes out of it."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bizcharts_pipeline.index.coins import Deviations
from bizcharts_pipeline.index.level import Level, Prior
from bizcharts_pipeline.index.votes import HOUR, Bools, Floats, Ints


@dataclass(frozen=True)
class Coverage:
    """What is known of the collection, hour by hour: ``H`` hours, the first of which starts at ``start``."""

    start: int
    covered: Bools  # (H,) polled at least once, or of a day that the archive gave completely
    known: Bools  # (H,) the hour could have been covered: polling had begun, or the archive was asked
    fetched_at: Ints  # (H,) when the archive was asked, where that changes the two above; else 0

    @staticmethod
    def nowhere() -> "Coverage":
        """Of a time when nobody looked."""
        return Coverage(0, np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, np.int64))

    def share(self, ends: Ints, hours: int) -> Floats:
        """Covered share of the last ``hours`` hours at each end, a running one included; NaN: not known."""
        stop = self._stop(ends)
        begin = np.clip(stop - hours, 0, None)
        known = between(self.known, begin, stop)
        return np.where(known > 0, between(self.covered, begin, stop) / hours, np.nan)

    def knowable_at(self, ends: Ints, hours: int) -> Ints:
        """Since when the share at each end can be known; 0 where it needs no archive."""
        latest = sliding_window_view(np.pad(self.fetched_at, (hours, 0)), hours).max(axis=1)
        return np.asarray(latest[self._stop(ends)])

    def _stop(self, ends: Ints) -> Ints:
        return np.clip(-(-(ends - self.start) // HOUR), 0, len(self.covered))


@dataclass(frozen=True)
class State:
    """What a stretch needs to know of the time up to ``at`` (a day's end)."""

    at: int
    level: Level  # two hours before: later hours are not settled yet
    symbols: tuple[str, ...]
    deviations: Deviations  # of the coins in ``symbols``, two hours before
    day_ends: Ints  # of the last history_days' daily points
    day_stances: Floats
    knowable_at: int = 0  # of the last reading

    @property
    def filters(self) -> tuple[int, Level, tuple[str, ...], Deviations]:
        """What of it is stored as such; the rest is read from the stored readings."""
        return self.at, self.level, self.symbols, self.deviations

    @staticmethod
    def nothing(at: int, prior: Prior | None = None) -> "State":
        """Before the first post."""
        prior = prior or Prior()
        none = np.empty(0, np.int64)
        return State(at, Level.before(prior), (), Deviations.before(prior, 0), none, np.empty(0))


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
    stance_wide_lo: Floats
    stance_wide_hi: Floats
    value: Floats
    lo: Floats
    hi: Floats
    label: list[str | None]
    state: list[str]
    history_days: Ints  # daily points that the value is ranked in, or would be
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


def between(amounts: Floats | Bools, begin: Ints, stop: Ints) -> Floats:
    """Sums of ``amounts[begin:stop]`` for arrays of borders."""
    running = np.concatenate([[0.0], np.cumsum(amounts, dtype=np.float64)])
    return np.asarray(running[stop] - running[begin])
