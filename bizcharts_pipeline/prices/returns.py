"""Daily values on a grid of UTC days, and the returns of a price from midnight to midnight."""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]


def day_grid(first: date, last: date) -> Days:
    """Return the days from ``first`` to ``last``, the grid of daily prices; none if ``last`` is earlier."""
    return np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)


def on_grid(values: Mapping[date, float], grid: Days) -> Floats:
    """Return ``values`` by day, such as prices, on the grid of days; NaN where there is none."""
    return np.array([values.get(day, np.nan) for day in grid.astype(object)], dtype=np.float64)


def log_returns(closes: Mapping[date, float], grid: Days) -> Floats:
    """Return each day's log return from a coin's stored prices: ``closes`` has that of the midnight that ends each day.
    NaN without one of the two."""
    one = timedelta(days=1)
    ends = on_grid(closes, grid)
    begins = on_grid({day + one: price for day, price in closes.items()}, grid)
    return np.log(ends) - np.log(begins)
