"""Simulated days of which the truth is known."""

from math import erf

import numpy as np

from bizcharts_pipeline.lab.series import Pair

VOLATILITY = 0.03  # of a day's return
PERSISTENCE = 0.9  # of the mood


def world(seed: int, days: int = 1000, lead: int = 0, r2: float = 0.0) -> Pair:
    """A mood from 0 to 100 and a price. With ``lead``, the mood of so many days before explains the share ``r2`` of the
    variance of a day's return; else it says nothing.

    The returns have fat tails (Student's t with 4 degrees of freedom) and changing variance (GARCH), the mood follows
    its own past and yesterday's and today's price, as moods do.
    """
    generator = np.random.default_rng(seed)
    warm_up = 200
    total = days + warm_up
    shocks = generator.standard_t(4, total) / np.sqrt(2)
    own = generator.standard_normal(total)
    noise, mood, variance = np.zeros(total), np.zeros(total), 1.0
    returns = np.zeros(total)
    spread = 1 / np.sqrt(1 - PERSISTENCE**2)  # of the mood, roughly
    for day in range(1, total):
        variance = 0.05 + 0.10 * noise[day - 1] ** 2 + 0.85 * variance
        noise[day] = np.sqrt(variance) * shocks[day]
        part = mood[day - lead] / spread if lead and day >= lead else 0.0
        returns[day] = np.sqrt(1 - r2) * noise[day] + np.sqrt(r2) * part
        follows = 0.3 * noise[day] + 0.3 * noise[day - 1]
        mood[day] = PERSISTENCE * mood[day - 1] + (own[day] + follows) / np.sqrt(1.18)
    dates = np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-01") + days)
    kept = slice(warm_up, total)
    value = np.array([50 + 50 * erf(each / spread / 2**0.5) for each in mood[kept]])
    return Pair("index", "the index", "BTC", dates, value, VOLATILITY * returns[kept], classes=True)
