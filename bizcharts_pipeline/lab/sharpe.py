"""Sharpe ratios that know how many strategies were tried.

The probabilistic and the deflated Sharpe ratio of Bailey and López de Prado ("The Deflated Sharpe Ratio", Journal of
Portfolio Management 40 (5), 2014). No package here has them. All Sharpe ratios are per day, not annualised.
"""

import math
from collections.abc import Sequence

import numpy as np

from bizcharts_pipeline.lab.series import Floats

_EULER = 0.5772156649015329


def sharpe_ratio(returns: Floats) -> float:
    """Return the Sharpe ratio of a trading rule: mean divided by standard deviation; 0 if the returns do not vary."""
    spread = float(returns.std(ddof=1)) if returns.size > 1 else 0.0
    return float(returns.mean()) / spread if spread > 0 else 0.0


def expected_maximum(trials: int, variance: float) -> float:
    """Return the Sharpe ratio that the best of ``trials`` worthless strategies is expected to show.

    ``variance`` is that of the trials' Sharpe ratios.
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second))


def probabilistic_sharpe(sharpe: float, benchmark: float, n: int, skewness: float, kurtosis: float) -> float:
    """Return the probability that the true Sharpe ratio is above ``benchmark``.

    ``sharpe`` was measured over ``n`` returns of that ``skewness`` and ``kurtosis`` (3 for normal ones).
    """
    from scipy.stats import norm

    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(max(spread, 1e-12))))


def deflated_sharpe(returns: Floats, trial_sharpes: Sequence[float]) -> float | None:
    """Return the probability that a strategy's Sharpe ratio is above that of the luckiest of all trials.

    ``returns`` by day; ``trial_sharpes`` of all strategies ever tried, this one included. ``None``: it never traded.
    """
    from scipy.stats import kurtosis, skew

    if returns.size < 3 or returns.std() == 0:
        return None
    variance = float(np.var(trial_sharpes, ddof=1)) if len(trial_sharpes) > 1 else 0.0
    return probabilistic_sharpe(
        sharpe_ratio(returns),
        expected_maximum(len(trial_sharpes), variance),
        returns.size,
        float(skew(returns)),
        float(kurtosis(returns, fisher=False)),
    )
