"""How large a lead would have been found? Simulated on the mood's and the price's own days.

A formula of the test alone overstates the power, because the lags of a mood that changes slowly explain each other.
"""

from bisect import bisect_left

import numpy as np

from bizcharts_pipeline.lab.forecast import clark_west, expanding_forecasts
from bizcharts_pipeline.lab.leadlag import ALPHA, lead_lag
from bizcharts_pipeline.lab.series import Pair, lagged
from bizcharts_pipeline.lab.study import MIN_FORECASTS, MIN_SHIFT

POWER = 0.8
SIZES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)  # shares of the daily variance
LEADS = (1, 2, 3)  # days
WORLDS = 12  # for each lead


def detectable_r2(pair: Pair, tests: int, seed: int) -> float | None:
    """Return the smallest of :data:`SIZES` of a lead of the mood that is found in 80 % of simulated worlds; ``None``:
    not even the largest.

    In each world the mood is moved in time, and its value of 1, 2 or 3 days before explains that share of the daily
    variance of the returns. Found: a p-value of the lead or the forecast is at most
    alpha / (tests × (1 + 1/2 + … + 1/tests)), as the adjustment asks of a single discovery among ``tests``.
    """
    level = ALPHA / (tests * sum(1 / place for place in range(1, tests + 1)))
    shifts = np.random.default_rng(seed).integers(MIN_SHIFT, pair.mood.size - MIN_SHIFT, (len(LEADS), WORLDS))

    def is_found(r2: float) -> bool:
        found = sum(
            _smallest_p(pair.shifted(int(shift)), lead, r2) <= level
            for lead, of_lead in zip(LEADS, shifts, strict=True)
            for shift in of_lead
        )
        return found >= POWER * shifts.size

    place = bisect_left(SIZES, True, key=is_found)
    return SIZES[place] if place < len(SIZES) else None


def _smallest_p(null: Pair, lead: int, r2: float) -> float:
    """Plant a lead of ``lead`` days that explains ``r2`` of the returns' variance, and test for it."""
    cause = lagged(null.mood, lead)
    cause = np.nan_to_num((cause - np.nanmean(cause)) / np.nanstd(cause))  # nothing is planted where it has a gap
    returns = np.sqrt(1 - r2) * null.returns + np.sqrt(r2) * np.nanstd(null.returns) * cause
    tests = lead_lag(null.mood, returns)
    found = [] if tests is None else [tests.p, *(test.p for test in tests.by_lag)]
    forecasts = expanding_forecasts(null.mood, returns)
    if forecasts.outcome.size >= MIN_FORECASTS:
        found.append(clark_west(forecasts.outcome, forecasts.by_mean, forecasts.by_mood).p)
    return min(found, default=1.0)
