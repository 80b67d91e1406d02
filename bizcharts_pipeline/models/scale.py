"""How a model's net stance on gold compares with people's: the offset, and the share of people's movement it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bizcharts_pipeline.models.metrics import CLASSES, REPLICATES, percentiles, resampled_sums
from bizcharts_pipeline.sentiment.scorer import Score

if TYPE_CHECKING:
    from bizcharts_pipeline.models.metrics import Array


@dataclass(frozen=True)
class Scale:
    """A model's stance on gold beside people's."""

    offset: float  # people's net stance less the model's certainty-weighted one
    offset_variance: float  # over resampled groups of near-duplicates
    slope: float | None  # stance a unit of people's net stance; None: gold lacks a class
    slope_lo: float | None  # 95 % interval
    slope_hi: float | None


def measure_scale(scores: Sequence[Score], truth: Sequence[int], groups: Sequence[int], seed: int) -> Scale:
    """Compare ``scores`` with ``truth`` (0 bearish, 1 neutral, 2 bullish); ``groups`` names near-duplicates.

    The slope says by how much the stance moves when posts turn from bearish to bullish and neutral ones stay: from the
    model's mean weight and weighted stance within each true class.
    """
    import numpy as np

    from bizcharts_pipeline.index.votes import certainty_factor

    weight = certainty_factor(np.array([score.confidence for score in scores]))
    weighted = weight * np.array([score.score for score in scores])
    classes = np.asarray(truth)[:, None] == np.arange(CLASSES)
    columns = np.column_stack([classes, classes * weight[:, None], classes * weighted[:, None]]).astype(float)
    (offset,), (slope,) = _figures(columns.sum(axis=0, keepdims=True))
    offsets, slopes = _figures(resampled_sums(columns, groups, REPLICATES, seed))
    if np.isnan(slope):
        return Scale(float(offset), float(offsets.var()), None, None, None)
    return Scale(float(offset), float(offsets.var()), float(slope), *percentiles(slopes[~np.isnan(slopes)]))


def _figures(sums: "Array") -> "tuple[Array, Array]":
    """Offset and slope from each row's posts, weight and weighted stance by class."""
    import numpy as np

    posts, weight, stance = sums[:, :CLASSES], sums[:, CLASSES : 2 * CLASSES], sums[:, 2 * CLASSES :]
    total = weight.sum(axis=1)
    net = stance.sum(axis=1) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_weight, mean_stance = weight / posts, stance / posts
    turned = mean_stance[:, 2] - mean_stance[:, 0] - net * (mean_weight[:, 2] - mean_weight[:, 0])
    return (posts[:, 2] - posts[:, 0]) / posts.sum(axis=1) - net, turned / (2 * total / posts.sum(axis=1))
