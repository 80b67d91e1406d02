"""Evaluation metrics of scorers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.scorer import Score

if TYPE_CHECKING:
    import numpy as np

    Numbers = Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]

BINS = 10


class EvaluationError(BizchartsError):
    """The numbers of scores and labels differ, are zero, or a label is invalid."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one scorer on ``n`` labelled posts.

    Classes are 0 bearish, 1 neutral, 2 bullish; the highest probability decides.
    """

    n: int
    accuracy: float
    macro_f1: float  # mean over the three classes; a class that is neither in the truth nor predicted counts 0
    f1: tuple[float, float, float]
    ece: float  # expected calibration error of the highest probability, ten bins of equal mass
    bull_bear_auc: float | None  # probability that a bullish post's stance is above a bearish one's; None without both
    confusion: tuple[tuple[int, ...], ...]  # rows: truth, columns: predicted


def evaluate(scores: Sequence[Score], truth: Sequence[int]) -> Evaluation:
    """Return the metrics of a scorer's ``scores`` against ``truth`` (0 bearish, 1 neutral, 2 bullish).

    The expected calibration error is that of Guo et al. (ICML 2017), with bins of equal mass instead of equal width.

    Raises:
        EvaluationError: no posts, different numbers, or a class outside 0 to 2.
    """
    if not scores or len(scores) != len(truth) or not set(truth) <= {0, 1, 2}:
        raise EvaluationError(
            f"{len(scores)} scores, {len(truth)} labels: the numbers must be equal and positive, labels 0, 1 or 2"
        )
    rows = [(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores]
    said = [max(range(3), key=row.__getitem__) for row in rows]
    confusion = [[0, 0, 0] for _ in range(3)]
    for true, guess in zip(truth, said, strict=True):
        confusion[true][guess] += 1
    f1 = tuple(_f1(confusion, k) for k in range(3))
    return Evaluation(
        n=len(truth),
        accuracy=sum(confusion[k][k] for k in range(3)) / len(truth),
        macro_f1=sum(f1) / 3,
        f1=(f1[0], f1[1], f1[2]),
        ece=float(calibration_errors([max(row) for row in rows], [a == b for a, b in zip(truth, said, strict=True)])),
        bull_bear_auc=auc(
            [score.score for score, true in zip(scores, truth, strict=True) if true == 2],
            [score.score for score, true in zip(scores, truth, strict=True) if true == 0],
        ),
        confusion=tuple(tuple(row) for row in confusion),
    )


def _f1(confusion: Sequence[Sequence[int]], k: int) -> float:
    named = sum(row[k] for row in confusion) + sum(confusion[k])
    return 2 * confusion[k][k] / named if named else 0.0


def calibration_errors(confidences: Sequence[float], right: "Sequence[bool] | np.ndarray[Any, Any]") -> Any:
    """Return a scorer's expected calibration error: the mean over the bins, weighted by mass, of the gap between mean
    confidence and accuracy.

    ``right`` says for each prediction whether it is right: (posts,), or (samples, posts) for the error of each sample.
    """
    import numpy as np

    order = np.argsort(confidences, kind="stable")
    gaps = (np.asarray(confidences) - np.asarray(right))[..., order]
    begins = sorted({len(order) * k // BINS for k in range(BINS)})
    return np.abs(np.add.reduceat(gaps, begins, axis=-1)).sum(axis=-1) / len(order)


def auc(positives: "Numbers", negatives: "Numbers") -> float | None:
    """Return the area under the ROC curve of scores by ranks (Mann-Whitney), ties counting half; ``None`` if a side is
    empty.
    """
    if not len(positives) or not len(negatives):
        return None
    import numpy as np

    values = np.concatenate([np.asarray(positives, np.float64), np.asarray(negatives, np.float64)])
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    n = len(positives)
    return float((ranks[place[:n]].sum() - n * (n + 1) / 2) / (n * len(negatives)))
