"""Limits of what a further week of the same kind may show, from earlier weeks: prediction intervals.

For one number Student's t, for several Hotelling's T² (Anderson 2003, ch. 5). With few earlier weeks they are wide.
"""

import math
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.drift.panel import Floats


@dataclass(frozen=True)
class Limits:
    """What is expected of the next value, and how far it may lie from that."""

    centre: float
    reach: float


def limits_of(earlier: Floats, level: float) -> Limits:
    """Return the limits of a measure of drift that a further week's value exceeds to one given side with the
    probability ``level``."""
    from scipy.stats import t

    count = len(earlier)
    spread = float(earlier.std(ddof=1)) * math.sqrt(1 + 1 / count)
    return Limits(float(earlier.mean()), float(t.isf(level, count - 1)) * spread)


def distance(earlier: Floats, present: Floats) -> float:
    """Return how far the week ``present`` (d,) has drifted from the mean of ``earlier`` (weeks, d), in standard
    deviations of weeks (Mahalanobis), with the uncertainty of that mean; NaN if the earlier weeks do not vary."""
    away = present - earlier.mean(axis=0)
    covariance = np.atleast_2d(np.cov(earlier, rowvar=False)) * (1 + 1 / len(earlier))
    if np.linalg.matrix_rank(covariance) < len(present):
        return math.nan
    return math.sqrt(float(away @ np.linalg.solve(covariance, away)))


def distance_limit(weeks: int, dimensions: int, level: float) -> float:
    """Return the distance from the earlier weeks that a further week without drift exceeds with the probability
    ``level``."""
    from scipy.stats import f

    quantile = float(f.isf(level, dimensions, weeks - dimensions))
    return math.sqrt(dimensions * (weeks - 1) / (weeks - dimensions) * quantile)
