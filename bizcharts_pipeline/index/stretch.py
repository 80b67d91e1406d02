"""Input and output types of the readings over a time range."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bizcharts_pipeline.index.coins import Deviations
from bizcharts_pipeline.index.level import Level, Prior
from bizcharts_pipeline.index.votes import HOUR, Bools, Floats, Ints


@dataclass(frozen=True)
class Coverage:
    """Coverage of the collection by hour: ``H`` hours, the first of which starts at ``start``."""

    start: int
    covered: Bools  # (H,) polled at least once, or of a completely archived day
    known: Bools  # (H,) coverage is known: polling had begun, or the day was fetched from the archive
    fetched_at: Ints  # (H,) when the day was fetched from the archive, if that changes the two above; else 0

    @staticmethod
    def nowhere() -> "Coverage":
        """Return the coverage of the index's hours in a period without polls."""
        return Coverage(0, np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, np.int64))

    def share(self, ends: Ints, hours: int) -> Floats:
        """Return the covered share of the last ``hours`` hours at each end of an index's reading, including a running
        one; NaN if unknown.
        """
        stop = self._stop(ends)
        begin = np.clip(stop - hours, 0, None)
        known = between(self.known, begin, stop)
        return np.where(known > 0, between(self.covered, begin, stop) / hours, np.nan)

    def knowable_at(self, ends: Ints, hours: int) -> Ints:
        """Return, for each of ``ends`` of the index's readings, the time from which its coverage over the last
        ``hours`` hours can be known.

        Ends and times are in microseconds since 1970 (UTC), and have the same shape. The time is 0 where no hour comes
        from the archive.
        """
        latest = sliding_window_view(np.pad(self.fetched_at, (hours, 0)), hours).max(axis=1)
        return np.asarray(latest[self._stop(ends)])

    def _stop(self, ends: Ints) -> Ints:
        return np.clip(-(-(ends - self.start) // HOUR), 0, len(self.covered))


@dataclass(frozen=True)
class State:
    """The state at ``at`` (the end of a day), from which a later range continues."""

    at: int
    level: Level  # of two hours earlier, because later hours are not settled yet
    symbols: tuple[str, ...]
    deviations: Deviations  # of the coins in ``symbols``, two hours earlier
    day_ends: Ints  # of the daily points of the last history_days
    day_stances: Floats
    knowable_at: int = 0  # of the last reading

    @property
    def filters(self) -> tuple[int, Level, tuple[str, ...], Deviations]:
        """The part of the index's state that is stored; the rest is read from the stored readings."""
        return self.at, self.level, self.symbols, self.deviations

    @staticmethod
    def nothing(at: int, prior: Prior | None = None) -> "State":
        """Return the index's state before the first post."""
        prior = prior or Prior()
        none = np.empty(0, np.int64)
        return State(at, Level.before(prior), (), Deviations.before(prior, 0), none, np.empty(0))


@dataclass(frozen=True)
class MarketReadings:
    """``R`` hourly readings, ascending; the last is the running hour's if ``provisional``. NaN: no value."""

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
    """One row for every coin named in the window of a reading."""

    reading: Ints  # (C,) index of the market's reading
    coin: Ints  # (C,) index in the mentions' symbols
    mentions: Ints
    n_eff: Floats
    score: Floats
    lo: Floats
    hi: Floats
    live: Bools  # every post of the coins' window was seen on the board


def between(amounts: Floats | Bools, begin: Ints, stop: Ints) -> Floats:
    """Return the sums of the index's hourly ``amounts[begin:stop]`` for arrays of bounds."""
    running = np.concatenate([[0.0], np.cumsum(amounts, dtype=np.float64)])
    return np.asarray(running[stop] - running[begin])
