"""Would the mood have improved a forecast made at the time? Out-of-sample R² with the test of Clark and West.

Each day's return is forecast by a regression on the mood's last days that was fitted to earlier days only, and by the
mean of earlier returns. Under the null hypothesis the larger model forecasts worse, because it estimates what is zero;
Clark and West (2007, Journal of Econometrics 138, equation 3.1) adjust for that. No package here has the test.
"""

from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.lab.leadlag import LAGS, newey_west_lags
from bizcharts_pipeline.lab.series import Floats, lagged

FIRST_FIT = 250  # days before the first forecast


@dataclass(frozen=True)
class Forecast:
    """Forecasts of the next day's return. ``r2`` below 0: worse than the mean of earlier returns."""

    n: int  # forecasts
    r2: float
    t: float  # Clark-West, adjusted for autocorrelation
    p: float  # one-sided: the mood improves the forecast


@dataclass(frozen=True)
class Forecasts:
    """Each forecast day's return, and the forecasts without and with the mood; shape ``(n,)``."""

    outcome: Floats
    by_mean: Floats
    by_mood: Floats


def expanding_forecasts(mood: Floats, returns: Floats, lags: int = LAGS, first_fit: int = FIRST_FIT) -> Forecasts:
    """Return the lab's forecasts of the price's return, with and without the mood, for each day with known regressors
    after the first ``first_fit`` such days."""
    design = np.column_stack([np.ones(returns.size), *(lagged(mood, lag) for lag in range(1, lags + 1))])
    rows = np.isfinite(design).all(axis=1) & np.isfinite(returns)
    x, y = design[rows], returns[rows]
    places = np.arange(first_fit, y.size)
    if places.size == 0:
        return Forecasts(*(np.empty(0) for _ in range(3)))
    # Scaled by the first window alone, for the numerical stability of the normal equations.
    scale = x[:first_fit, 1:].std(axis=0)
    x[:, 1:] = (x[:, 1:] - x[:first_fit, 1:].mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    products = np.cumsum(x[:, :, None] * x[:, None, :], axis=0)[places - 1]
    moments = np.cumsum(x * y[:, None], axis=0)[places - 1]
    ridge = 1e-9 * np.eye(x.shape[1])  # a mood that has not varied so far is not singular
    coefficients = np.linalg.solve(products + ridge, moments[:, :, None])[:, :, 0]
    by_mean = np.cumsum(y)[places - 1] / places
    return Forecasts(y[places], by_mean, np.sum(x[places] * coefficients, axis=1))


def clark_west(outcome: Floats, by_mean: Floats, by_mood: Floats) -> Forecast:
    """Compare the lab's forecasts of returns by two nested models, ``by_mood`` being the larger one; all of shape
    ``(n,)``."""
    from scipy.stats import norm

    errors, larger_errors = (outcome - by_mean) ** 2, (outcome - by_mood) ** 2
    gain = errors - (larger_errors - (by_mean - by_mood) ** 2)
    spread = np.sqrt(_long_run_variance(gain) / gain.size)
    t = float(gain.mean() / spread) if spread > 0 else 0.0
    return Forecast(gain.size, float(1 - larger_errors.sum() / errors.sum()), t, float(norm.sf(t)))


def _long_run_variance(values: Floats) -> float:
    """Newey-West variance of the mean's numerator, with Bartlett weights."""
    centred = values - values.mean()
    n, lags = values.size, newey_west_lags(values.size)
    variance = centred @ centred / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / n
    return float(variance)
