"""The size of an effect with an interval: stationary bootstrap with a block length chosen from the data.

Blocks keep the dependence of neighbouring days (Politis and Romano 1994); their mean length is that of Politis and
White (2004), as corrected by Patton, Politis and White (2009).
"""

from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.lab.series import Floats, lagged

HORIZON = 3  # days
CONFIDENCE = 0.95
REPETITIONS = 999


@dataclass(frozen=True)
class Effect:
    """How much higher the price's return of the next days was after a mood higher by one standard deviation."""

    days: int  # whose returns are summed
    of_change: bool  # of the daily change of the mood instead of its level
    estimate: float  # log return
    lo: float  # 95 % interval
    hi: float
    block: int  # mean length of the bootstrap's blocks, in days
    n: int


def effect_with_interval(
    mood: Floats, returns: Floats, *, of_change: bool, seed: int, repetitions: int = REPETITIONS
) -> Effect | None:
    """Return the slope, with its interval, of the next :data:`HORIZON` days' return on the mood; ``None`` if it does
    not vary.

    ``mood`` and ``returns`` are by day, NaN for gaps, shape ``(days,)``.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    cause = mood - lagged(mood, 1) if of_change else mood
    following = sum((lagged(returns, -day) for day in range(1, HORIZON + 1)), np.zeros(returns.size))
    known = np.isfinite(cause) & np.isfinite(following)
    x, y = cause[known], following[known]
    if x.size < 10 * HORIZON or x.std() == 0 or y.std() == 0:
        return None
    x = (x - x.mean()) / x.std()
    scores = x * (y - y.mean())
    block = int(np.clip(np.ceil(optimal_block_length(scores)["stationary"].iloc[0]), HORIZON, x.size // 4))
    resampled = StationaryBootstrap(block, x, y, seed=np.random.default_rng(seed))
    slopes = [_slope(*data) for data, _ in resampled.bootstrap(repetitions)]
    tail = (1 - CONFIDENCE) / 2
    lo, hi = np.quantile(slopes, [tail, 1 - tail])
    return Effect(HORIZON, of_change, _slope(x, y), float(lo), float(hi), block, x.size)


def _slope(x: Floats, y: Floats) -> float:
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))
