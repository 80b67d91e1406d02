"""Does one series lead another? HAC regressions with Wald tests, in either direction.

The effect is regressed on its own last days and on those of the cause (Granger's definition), with standard errors of
Newey and West (1987), which hold under autocorrelation and changing variance. The joint test is a Wald test that no lag
of the cause has a part. One more lag than is tested is in the regression, which keeps the tests valid whether or not
the cause is stationary (Toda and Yamamoto 1995; Dolado and Lütkepohl 1996).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bizcharts_pipeline.lab.series import Floats, lagged

LAGS = 5  # days that are tested; fixed in advance
ALPHA = 0.05


@dataclass(frozen=True)
class LagTest:
    """The test of one lag, in days. ``coefficient``: effect of one unit of the cause."""

    lag: int
    coefficient: float
    t: float
    p: float


@dataclass(frozen=True)
class LeadLag:
    """Whether the cause leads the effect: the joint test of all lags, and each lag's."""

    n: int  # days in the regression
    hac_lags: int  # of the Newey-West standard errors
    f: float
    p: float
    by_lag: tuple[LagTest, ...]

    @property
    def strongest(self) -> LagTest:
        """The lag by which the mood or the price leads with the largest t in size."""
        return max(self.by_lag, key=lambda test: abs(test.t))


def newey_west_lags(n: int) -> int:
    """Return the lags of the Newey-West estimator for the lab's regression on ``n`` observations: 4 (n / 100)^(2/9),
    rounded down."""
    return int(4 * (n / 100) ** (2 / 9))


def lead_lag(cause: Floats, effect: Floats, lags: int = LAGS) -> LeadLag | None:
    """Test whether the series ``cause`` leads ``effect``, as the mood the price (by day, NaN for gaps, shape
    ``(days,)``), by 1 to ``lags`` days.

    Days with a gap in a regressor are left out. ``None``: the days are too few, or the cause does not vary.
    """
    from statsmodels.regression.linear_model import OLS

    depth = range(1, lags + 2)
    columns = [lagged(cause, lag) for lag in depth] + [lagged(effect, lag) for lag in depth]
    design = np.column_stack([np.ones(effect.size), *columns])
    rows = np.isfinite(design).all(axis=1) & np.isfinite(effect)
    design, outcome = design[rows], effect[rows]
    if outcome.size < 4 * design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    maxlags = newey_west_lags(outcome.size)
    options = {"maxlags": maxlags, "use_correction": True}
    fitted: Any = OLS(outcome, design).fit(cov_type="HAC", cov_kwds=options, use_t=True)
    joint = fitted.wald_test(np.eye(design.shape[1])[1 : lags + 1], use_f=True, scalar=True)
    tests = tuple(
        LagTest(lag, float(fitted.params[lag]), float(fitted.tvalues[lag]), float(fitted.pvalues[lag]))
        for lag in range(1, lags + 1)
    )
    return LeadLag(outcome.size, maxlags, float(joint.statistic), float(joint.pvalue), tests)
