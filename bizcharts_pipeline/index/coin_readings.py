"""Readings of the coins over a time range: one for each coin named in the window before a moment."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.coins import Cells, Deviations, estimate_coins, follow_coins
from bizcharts_pipeline.index.level import Estimate, mixed
from bizcharts_pipeline.index.market import Grid, Market
from bizcharts_pipeline.index.sums import AN_HOUR_LATER, AT_ITS_END, SETTLED, SETTLING_HOURS, Sums, cell_sums
from bizcharts_pipeline.index.votes import HOUR, Floats, Ints, Votes

CHUNK_HOURS = 31 * 24  # processed at a time, which bounds memory


@dataclass(frozen=True)
class CoinRows:
    """``Q`` readings of coins."""

    reading: Ints  # index of the market's reading
    coin: Ints
    mentions: Ints
    n_eff: Floats
    estimate: Estimate

    @staticmethod
    def joined(parts: list["CoinRows"]) -> "CoinRows":
        """Return the concatenated readings of coins of ``parts``."""
        none, nothing = np.empty(0, np.int64), np.empty(0)
        parts = [CoinRows(none, none, none, nothing, Estimate(nothing, nothing)), *parts]
        return CoinRows(
            np.concatenate([part.reading for part in parts]),
            np.concatenate([part.coin for part in parts]),
            np.concatenate([part.mentions for part in parts]),
            np.concatenate([part.n_eff for part in parts]),
            Estimate(
                np.concatenate([part.estimate.mean for part in parts]),
                np.concatenate([part.estimate.variance for part in parts]),
            ),
        )


class Coins:
    """The coins' filters over a time range."""

    def __init__(self, start: Deviations, votes: Votes, grid: Grid, market: Market) -> None:
        """Run the filters; ``start`` has as many coins as the votes' series."""
        self.votes, self.grid, self.market = votes, grid, market
        self.coins = len(start.seen)
        hour = grid.hours(votes)
        keys, inverse = np.unique(hour * self.coins + votes.series, return_inverse=True)
        outside = int(np.searchsorted(keys, 0))  # cells of votes before the lead
        self.keys = keys[outside:]
        self.sums = cell_sums(votes, np.where(hour >= 0, inverse - outside, -1), len(self.keys))
        self.hour = self.keys // max(self.coins, 1) - grid.lead
        settled = slice(*np.searchsorted(self.hour, [0, grid.settled]))
        cells = Cells(self.hour[settled], self.keys[settled] % max(self.coins, 1), self.sums[SETTLED].part(settled))
        path = market.path
        stance, _ = mixed(path.mean, path.variance, path.evidence)
        self.trail = follow_coins(start, cells, stance, grid.begin)

    def read(self, first: int, window_hours: int, until: int, *, running: bool) -> CoinRows:
        """Return the index's readings of the coins from the market's reading number ``first`` on."""
        full = self.grid.count - SETTLING_HOURS
        parts = [
            self._read(begin, min(begin + CHUNK_HOURS, full), window_hours) for begin in range(first, full, CHUNK_HOURS)
        ]
        if running:
            parts.append(self._read_running(full, window_hours, until))
        return CoinRows.joined(parts)

    def _read(self, begin: int, stop: int, window_hours: int) -> CoinRows:
        """The coins at the market's readings ``begin`` to ``stop``, all at full hours."""
        # Rows of the tables are hours; the first reading's own hour is row `window_hours`.
        origin = begin + SETTLING_HOURS - window_hours
        place = np.arange(begin, stop)
        here = place - begin + window_hours
        tables = [self._table(known, origin, stop + SETTLING_HOURS) for known in range(3)]
        fresh, later, settled = (tables[known] for known in (AT_ITS_END, AN_HOUR_LATER, SETTLED))
        n = _windows(settled.n, here, window_hours)
        row, coin = np.nonzero(n)
        cells = (row, coin)
        weight, square = (
            (_windows(old, here - 2, window_hours - 2) + (late[here - 1] if window_hours > 1 else 0) + new[here])[cells]
            for old, late, new in (
                (settled.weight, later.weight, fresh.weight),
                (settled.square, later.square, fresh.square),
            )
        )
        moment = self.grid.begin + (place + SETTLING_HOURS + 1) * HOUR
        at = (here[row], coin)
        moves = []
        for back, table in ((1, later), (0, fresh)):
            amount, stance = table.weight[at[0] - back, coin], table.stance[at[0] - back, coin]
            moves.append((moment[row] - back * HOUR, amount, _ratio(stance, amount)))
        estimate = estimate_coins(
            self.trail, self.market.estimate, place[row], coin, place[row] + 1, moment[row], self.grid.begin, moves
        )
        return CoinRows(place[row], coin, n[cells], _ratio(weight**2, square), estimate)

    def _read_running(self, reading: int, window_hours: int, until: int) -> CoinRows:
        """The coins at the current moment; reply counts are the latest known."""
        votes, grid = self.votes, self.grid
        inside = (votes.posted_at > until - window_hours * HOUR) & (votes.posted_at <= until)
        begun = (votes.posted_at > grid.full) & (votes.posted_at <= until)
        window = cell_sums(votes, np.where(inside, votes.series, -1), self.coins)[SETTLED]
        present = cell_sums(votes, np.where(begun, votes.series, -1), self.coins)[SETTLED]
        last = self._table(SETTLED, grid.count - SETTLING_HOURS, grid.count)
        coin = np.flatnonzero(window.n)
        stance = _ratio(last.stance, last.weight)
        moves = [
            (np.full(len(coin), grid.full - back * HOUR), last.weight[1 - back, coin], stance[1 - back, coin])
            for back in (1, 0)
        ]
        moves.append((np.full(len(coin), until), present.weight[coin], present.mean[coin]))
        same = np.full(len(coin), reading)
        settled, moment = np.full(len(coin), grid.settled), np.full(len(coin), until)
        estimate = estimate_coins(self.trail, self.market.estimate, same, coin, settled, moment, grid.begin, moves)
        return CoinRows(same, coin, window.n[coin], window.n_eff[coin], estimate)

    def _table(self, known: int, begin: int, stop: int) -> Sums:
        """Sums by hour and coin for hours ``begin`` to ``stop``, in the version ``known``: each (stop - begin, C)."""
        part = slice(*np.searchsorted(self.hour, [begin, stop]))
        cells = (self.hour[part] - begin, self.keys[part] % max(self.coins, 1))
        columns = []
        for column in self.sums[known].columns:
            table = np.zeros((stop - begin, self.coins), column.dtype)
            table[cells] = column[part]
            columns.append(table)
        return Sums(*columns)


def _windows(table: NDArray[Any], last: Ints, hours: int) -> NDArray[Any]:
    """Sums over the ``hours`` rows up to and including each of ``last``."""
    if hours <= 0:
        return np.zeros((len(last), table.shape[1]), table.dtype)
    running = np.concatenate([np.zeros_like(table[:1]), np.cumsum(table, axis=0)])
    return np.asarray(running[last + 1] - running[last + 1 - hours])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
