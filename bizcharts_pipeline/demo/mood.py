"""The hidden mood of the simulated board, which the index should recover."""

import math
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.core.clock import to_epoch

Floats = NDArray[np.float64]
Stance = Literal["bearish", "neutral", "bullish"]

_HOUR = 3600.0
_PULL_PER_HOUR = 1 / 72  # mean reversion: half of a deviation has decayed after 50 hours
_SPREAD = 0.45  # standard deviation of the mean-reverting part
_SHOCKS_PER_DAY = 0.15
_BULL_RUN = (0.28, 0.48, 0.9)  # start and end as shares of the span, and height
_CRASH = (0.62, 0.72, -1.6)
_NEUTRAL_WEIGHT = 2.0  # gives half of the posts at mood 0
_LEAN = 1.3  # log odds per unit of mood


class MoodPath:
    """A mean-reverting path from -1 to 1 with shocks, a bull run and a crash; linear between full hours."""

    def __init__(self, seed: int, start: datetime, days: float) -> None:
        rng = np.random.default_rng([seed, 1])
        self._origin = to_epoch(start)
        hours = max(2, math.ceil(days * 24) + 1)
        decay = math.exp(-_PULL_PER_HOUR)
        noise = rng.normal(0, _SPREAD * math.sqrt(1 - decay**2), hours)
        noise += rng.normal(0, 0.6, hours) * (rng.random(hours) < _SHOCKS_PER_DAY / 24)
        path = np.empty(hours)
        level = float(rng.normal(0, _SPREAD))
        for hour in range(hours):
            level = decay * level + float(noise[hour])
            path[hour] = level
        share = np.linspace(0, 1, hours)
        self._grid = np.tanh(path + _bump(share, *_BULL_RUN) + _bump(share, *_CRASH))

    def at(self, moment: datetime) -> float:
        """Return the simulated board's mood at ``moment``; outside the path, that of the nearer end."""
        return float(self.at_epochs(np.array([to_epoch(moment)]))[0])

    def at_epochs(self, epochs: NDArray[Any]) -> Floats:
        """Return the simulated board's mood at each of the Unix seconds ``epochs``."""
        hours = (epochs - self._origin) / _HOUR
        moods: Floats = np.interp(hours, np.arange(len(self._grid)), self._grid)
        return moods


def class_probabilities(mood: float) -> dict[Stance, float]:
    """Return the share of each stance among simulated posts written at ``mood``: a softmax of it."""
    weights: dict[Stance, float] = {
        "bearish": math.exp(-_LEAN * mood),
        "neutral": _NEUTRAL_WEIGHT,
        "bullish": math.exp(_LEAN * mood),
    }
    total = sum(weights.values())
    return {stance: weight / total for stance, weight in weights.items()}


def _bump(share: Floats, begin: float, end: float, height: float) -> Floats:
    """Return a steep rise to ``height`` within the first fifth, then a slow return to 0 at ``end``."""
    peak = begin + (end - begin) / 5
    heights: Floats = np.interp(share, [begin, peak, end], [0.0, height, 0.0])
    return heights
