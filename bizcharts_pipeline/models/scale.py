"""Comparison of a model's net stance on gold with people's: offset, and slope of its response to changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bizcharts_pipeline.models.metrics import CLASSES, REPLICATES, percentiles, resampled_sums
from bizcharts_pipeline.sentiment.scorer import Score

if TYPE_CHECKING:
    from bizcharts_pipeline.models.metrics import Array


@dataclass(frozen=True)
class Scale:
    """A model's stance on gold compared with people's."""

    offset: float  # people's net stance minus the model's certainty-weighted one
    offset_variance: float  # over resampled groups of near-duplicates
    slope: float | None  # model stance per unit of people's net stance; None: gold lacks a class
    slope_lo: float | None  # 95 % interval
    slope_hi: float | None
    response: tuple[float, ...] | None = None  # see _figures; None if the slope is None
    response_covariance: tuple[float, ...] | None = None  # over resampled groups, row by row


def measure_scale(scores: Sequence[Score], truth: Sequence[int], groups: Sequence[int], seed: int) -> Scale:
    """Compare the scale of a model's ``scores`` on gold with ``truth`` (0 bearish, 1 neutral, 2 bullish); ``groups``
    holds the groups of near-duplicates.

    The slope is the change of the stance when posts change from bearish to bullish and neutral ones stay, computed from
    the model's mean weight and weighted stance within each true class.
    """
    import numpy as np

    from bizcharts_pipeline.index.votes import certainty_factor

    weight = certainty_factor(np.array([score.confidence for score in scores]))
    weighted = weight * np.array([score.score for score in scores])
    classes = np.asarray(truth)[:, None] == np.arange(CLASSES)
    columns = np.column_stack([classes, classes * weight[:, None], classes * weighted[:, None]]).astype(float)
    measured = _figures(columns.sum(axis=0, keepdims=True))
    drawn = _figures(resampled_sums(columns, groups, REPLICATES, seed))
    (offset,), offset_variance = _offsets(measured), float(_offsets(drawn).var())
    (slope,) = _slopes(measured)
    if np.isnan(slope):
        return Scale(float(offset), offset_variance, None, None, None)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    return Scale(
        float(offset),
        offset_variance,
        float(slope),
        *percentiles(_slopes(drawn)),
        response=tuple(measured[0].tolist()),
        response_covariance=tuple(np.cov(drawn, rowvar=False).ravel().tolist()),
    )


def _figures(sums: "Array") -> "Array":
    """Return five means over the posts from each row's posts, weight and weighted stance by class.

    People's net stance; the model's weight; its weighted stance; and the differences of weight and of weighted stance
    between a bullish and a bearish post (NaN without one of them).
    """
    import numpy as np

    by_class = sums.reshape(len(sums), 3, CLASSES)
    posts, weight, stance = by_class[:, 0], by_class[:, 1], by_class[:, 2]
    total = posts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights, stances = weight / posts, stance / posts
    return np.column_stack(
        [
            (posts[:, 2] - posts[:, 0]) / total,
            weight.sum(axis=1) / total,
            stance.sum(axis=1) / total,
            weights[:, 2] - weights[:, 0],
            stances[:, 2] - stances[:, 0],
        ]
    )


def _offsets(figures: "Array") -> "Array":
    return figures[:, 0] - figures[:, 2] / figures[:, 1]


def _slopes(figures: "Array") -> "Array":
    import numpy as np

    _, weight, stance, more_weight, more_stance = figures.T
    return np.asarray((more_stance - stance / weight * more_weight) / (2 * weight))
