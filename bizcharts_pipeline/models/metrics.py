"""Metrics of a model on gold, with their uncertainty.

Intervals are percentiles (95 %) of a bootstrap over groups of near-duplicates: a text that was posted five times is one
observation, not five.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.sentiment.evaluation import calibration_errors, evaluate
from bizcharts_pipeline.sentiment.scorer import Score

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

REPLICATES, CALIBRATED_REPLICATES = 4000, 1000
MASS = 0.95
# Lower bound on probabilities, so that a single post does not dominate the log loss.
MIN_PROBABILITY = 0.001
CLASSES = 3
_CHUNK = 250  # replicates at a time: keeps 10,000 groups below 20 MB


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    lo: float
    hi: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.lo:.2f} to {self.hi:.2f})"


@dataclass(frozen=True)
class Figures:
    """Metrics of a model on ``n`` posts; classes are 0 bearish, 1 neutral, 2 bullish."""

    n: int
    accuracy: Interval
    macro_f1: Interval
    recall: tuple[float | None, ...]  # by class; None: no such post
    ece: float
    ece_if_calibrated: float  # 95 % of calibrated models with the same probabilities have at most this on ``n`` posts
    log_loss: float  # mean of -ln p of the true class; ln 3 = 1.099 for uniform probabilities
    confusion: tuple[tuple[int, ...], ...]  # rows: truth, columns: predicted


def measure(scores: Sequence[Score], truth: Sequence[int], groups: Sequence[int], seed: int) -> Figures:
    """Return the metrics of a model's ``scores`` of gold posts against ``truth``; ``groups`` holds the group of
    near-duplicates of each post.

    Raises:
        EvaluationError: there are no posts, or the lengths differ.
    """
    import numpy as np

    figures = evaluate(scores, truth)
    cells = np.zeros((len(truth), CLASSES * CLASSES))
    predicted = [max(range(CLASSES), key=(s.p_bearish, s.p_neutral, s.p_bullish).__getitem__) for s in scores]
    cells[np.arange(len(truth)), np.asarray(truth) * CLASSES + predicted] = 1
    tables = resampled_sums(cells, groups, REPLICATES, seed).reshape(-1, CLASSES, CLASSES)
    return Figures(
        n=figures.n,
        accuracy=Interval(figures.accuracy, *percentiles(accuracy(tables))),
        macro_f1=Interval(figures.macro_f1, *percentiles(macro_f1(tables))),
        recall=tuple(row[k] / sum(row) if sum(row) else None for k, row in enumerate(figures.confusion)),
        ece=figures.ece,
        ece_if_calibrated=_ece_if_calibrated(scores, seed),
        log_loss=float(np.mean(losses(scores, truth))),
        confusion=figures.confusion,
    )


def losses(scores: Sequence[Score], truth: Sequence[int]) -> "Array":
    """Return the log loss of a model on each post: minus the logarithm of the probability of its true class."""
    import numpy as np

    table = np.array([(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores], np.float64)
    return -np.log(np.maximum(table[np.arange(len(truth)), list(truth)], MIN_PROBABILITY))


def _ece_if_calibrated(scores: Sequence[Score], seed: int) -> float:
    """Return the 95th percentile of the expected calibration error of a model whose predictions are right as often as
    it says: by replicates in which they are drawn with its probabilities (Bröcker and Smith 2007, *Weather and
    Forecasting* 22).

    Few posts have a calibration error by chance alone, about 0.09 on 150 posts.
    """
    import numpy as np

    confidences = [max(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores]
    right = np.random.default_rng(seed).random((CALIBRATED_REPLICATES, len(scores))) < confidences
    return float(np.quantile(calibration_errors(confidences, right), MASS))


def resampled_sums(values: "Array", groups: Sequence[int], replicates: int, seed: int) -> "Array":
    """Return bootstrap sums, for the uncertainty of a model's metrics, of ``values`` (posts, columns) over resampled
    groups: (replicates, columns).

    Each replicate draws as many groups as there are, with replacement.
    """
    import numpy as np

    names, of = np.unique(np.asarray(groups), return_inverse=True)
    totals = np.zeros((len(names), values.shape[1]))
    np.add.at(totals, of, values)
    generator = np.random.default_rng(seed)
    equal = np.full(len(names), 1 / len(names))
    sizes = [min(_CHUNK, replicates - start) for start in range(0, replicates, _CHUNK)]
    return np.vstack([generator.multinomial(len(names), equal, size=size) @ totals for size in sizes])


def percentiles(values: "Array") -> tuple[float, float]:
    """Return the ends of the middle 95 % of ``values``, the bootstrap replicates of a model's metric."""
    import numpy as np

    tail = (1 - MASS) / 2
    lo, hi = np.quantile(values, [tail, 1 - tail])
    return float(lo), float(hi)


def accuracy(tables: "Array") -> "Array":
    """Return a model's accuracy by each bootstrapped confusion matrix: (n, 3, 3) to (n,)."""
    right: Array = tables.trace(axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return right


def macro_f1(tables: "Array") -> "Array":
    """Return a model's macro-F1 by each bootstrapped confusion matrix: (n, 3, 3) to (n,)."""
    import numpy as np

    named = tables.sum(axis=1) + tables.sum(axis=2)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    mean: Array = np.divide(2 * hits, named, out=np.zeros_like(named), where=named > 0).mean(axis=1)
    return mean
