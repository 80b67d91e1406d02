"""The market's readings over a time range: windows for the counts, the filter bank for the stance."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bizcharts_pipeline.index.level import Estimate, Level, Path, estimate, follow
from bizcharts_pipeline.index.sums import (
    AN_HOUR_LATER,
    AT_ITS_END,
    SETTLED,
    SETTLING_HOURS,
    Sums,
    cell_sums,
    hours_of,
    joined,
)
from bizcharts_pipeline.index.votes import HOUR, Floats, Ints, Votes


@dataclass(frozen=True)
class Grid:
    """The hours of a time range: ``lead`` hours for the windows, then ``count``, of which the last two are not settled.

    The filters start at ``begin``, two hours before the first moment of the range. The reading after ``e`` of the
    ``count`` hours is the one at ``begin + e h``.
    """

    begin: int
    lead: int
    count: int

    @staticmethod
    def of(at: int, until: int, lead: int) -> "Grid":
        """Return the hours for the index's readings in ``(at, until]``."""
        begin = at - SETTLING_HOURS * HOUR
        return Grid(begin, lead, (until - begin) // HOUR)

    @property
    def settled(self) -> int:
        """Number of the index's hours that are settled at the last full one."""
        return self.count - SETTLING_HOURS

    @property
    def full(self) -> int:
        """End of the last full hour of the index's readings."""
        return self.begin + self.count * HOUR

    def hours(self, votes: Votes) -> Ints:
        """Return the index of each vote's hour, from the first hour of the lead; -1 if outside."""
        hour = hours_of(votes, self.begin - self.lead * HOUR)
        return np.where((hour >= 0) & (hour < self.lead + self.count), hour, -1)


@dataclass(frozen=True)
class Market:
    """``R`` readings of the market, and the filter states from which a later range continues."""

    n: Ints
    n_eff: Floats
    raw_stance: Floats  # NaN if the window has no post
    estimate: Estimate
    path: Path


def read_market(level: Level, votes: Votes, grid: Grid, until: int, window_hours: int, *, running: bool) -> Market:
    """Estimate the market's readings of the index at every full hour of ``grid`` after its beginning, and at ``until``
    if ``running``.
    """
    sums = cell_sums(votes, grid.hours(votes), grid.lead + grid.count)
    settled = slice(grid.lead, grid.lead + grid.settled)
    path = follow(level, sums[SETTLED].part(settled), _trailing(sums[SETTLED], 24).part(settled))
    place = grid.lead + np.arange(SETTLING_HOURS, grid.count)  # the hour that ends at each reading
    window = sums[AT_ITS_END].part(place)
    if window_hours > 1:
        window = joined(window, sums[AN_HOUR_LATER].part(place - 1))
    if window_hours > 2:
        window = joined(window, _trailing(sums[SETTLED], window_hours - 2).part(place - 2))
    one = np.ones(len(place))
    late, fresh = sums[AN_HOUR_LATER].part(place - 1), sums[AT_ITS_END].part(place)
    rows, moves = place - grid.lead - 1, [(one, late.weight, late.mean), (one, fresh.weight, fresh.mean)]
    found = estimate(path, rows, moves)
    if running:
        inside = (votes.posted_at > until - window_hours * HOUR) & (votes.posted_at <= until)
        last = cell_sums(votes, np.where(inside, 0, -1), 1)[SETTLED]
        window = Sums(*(np.append(many, single) for many, single in zip(window.columns, last.columns, strict=True)))
        moved = estimate(path, np.array([grid.settled]), _running_moves(sums[SETTLED], votes, grid, until))
        found = Estimate(np.append(found.mean, moved.mean), np.append(found.variance, moved.variance))
    raw = np.where(window.n > 0, window.mean, np.nan)
    return Market(window.n, window.n_eff, raw, found, path)


def _running_moves(settled: Sums, votes: Votes, grid: Grid, until: int) -> list[tuple[Floats, Floats, Floats]]:
    """The last two full hours and the running one, with the latest known reply counts."""
    begun = (votes.posted_at > grid.full) & (votes.posted_at <= until)
    present = cell_sums(votes, np.where(begun, 0, -1), 1)[SETTLED]
    one = np.ones(1)
    last = [settled.part(np.array([grid.lead + grid.count - back])) for back in (2, 1)]
    length = np.array([(until - grid.full) / HOUR])
    return [*((one, hour.weight, hour.mean) for hour in last), (length, present.weight, present.mean)]


def _trailing(sums: Sums, hours: int) -> Sums:
    """Sums over the ``hours`` up to and including each hour; zero before the first."""
    return Sums(*(sliding_window_view(np.pad(column, (hours - 1, 0)), hours).sum(axis=1) for column in sums.columns))
