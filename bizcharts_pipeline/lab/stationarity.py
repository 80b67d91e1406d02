"""Is a series stationary? Both usual tests, as each has the other's alternative for its null hypothesis."""

import warnings
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.lab.leadlag import ALPHA
from bizcharts_pipeline.lab.series import Floats


@dataclass(frozen=True)
class Stationarity:
    """P-values. A small one of ADF speaks against a unit root, a small one of KPSS against stationarity."""

    adf_p: float
    kpss_p: float  # the tables end at 0.01 and 0.1

    @property
    def stationary(self) -> bool:
        """Whether a unit root of the mood is rejected at 5 %; KPSS is shown beside it, and warns of slow changes of
        the level."""
        return self.adf_p < ALPHA


def stationarity(series: Floats) -> Stationarity:
    """Test whether the mood ``series`` is stationary (NaN for gaps, which are left out); it varies."""
    from statsmodels.tsa.stattools import adfuller, kpss

    known = series[np.isfinite(series)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a p-value beyond the table; the bound is reported
        return Stationarity(float(adfuller(known, autolag="BIC")[1]), float(kpss(known, nlags="auto")[1]))
