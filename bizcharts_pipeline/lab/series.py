"""Daily series on one grid of UTC days: what was knowable of a mood at the end of each day, and the price's returns."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.prices.returns import Days

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """A mood and the price that it may lead, by UTC day. NaN marks a gap.

    ``mood[d]`` is what was knowable at the midnight that ends day ``d``; ``returns[d]`` is the log return of day ``d``,
    from midnight to midnight. So ``mood[d]`` leads ``returns[d + 1]`` by one day.
    """

    name: str  # for programs: 'index', 'coin:ETH', 'reference', ...
    title: str  # for people
    price: str  # symbol of the coin
    days: Days
    mood: Floats
    returns: Floats
    classes: bool = False  # whether the mood is on the scale 0 to 100 of the five classes

    @property
    def observed(self) -> int:
        """Number of days that have a mood and a return."""
        return int(np.sum(np.isfinite(self.mood) & np.isfinite(self.returns)))

    def trimmed(self) -> "Pair":
        """Return the stretch from the first to the last day that has both mood and return."""
        both = np.flatnonzero(np.isfinite(self.mood) & np.isfinite(self.returns))
        stretch = slice(both[0], both[-1] + 1) if both.size else slice(0, 0)
        return self.part(stretch)

    def part(self, stretch: slice) -> "Pair":
        """Return a stretch of the days of mood and price."""
        return replace(self, days=self.days[stretch], mood=self.mood[stretch], returns=self.returns[stretch])

    def shifted(self, days: int) -> "Pair":
        """Return a placebo: the mood moved by ``days`` around the sample's end, which keeps its own dynamics."""
        return replace(self, mood=np.roll(self.mood, days))


def lagged(values: NDArray[Any], lag: int) -> Floats:
    """Return ``values`` of a daily series of the lab, ``lag`` days before (negative: after) each day, NaN beyond the
    ends."""
    moved = np.full(values.shape, np.nan)
    if lag >= 0:
        moved[lag:] = values[: values.size - lag]
    else:
        moved[:lag] = values[-lag:]
    return moved
