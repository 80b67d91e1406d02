"""Classification metrics of the report."""

from typing import Any

import numpy as np
from calibration import nll
from checks import LABELS

BINS = 10
RESAMPLES = 1_000


def figures(probabilities: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the figures of a training's report: accuracy, macro-F1, recall by class, calibration error and confusion
    matrix (rows: true).

    ``probabilities``: ``[n, 3]``; 95 % intervals by bootstrap over rows.
    """
    if not len(labels):
        return {"n": 0}
    guesses = probabilities.argmax(-1)
    matrix = confusion(labels, guesses)
    draws = np.random.default_rng(seed).integers(0, len(labels), (RESAMPLES, len(labels)))
    resampled = [confusion(labels[draw], guesses[draw]) for draw in draws]
    return {
        "n": len(labels),
        "accuracy": accuracy(matrix),
        "accuracy_95": _interval([accuracy(each) for each in resampled]),
        "macro_f1": macro_f1(matrix),
        "macro_f1_95": _interval([macro_f1(each) for each in resampled]),
        "recall": {
            name: float(matrix[k, k] / matrix[k].sum()) if matrix[k].sum() else None for k, name in enumerate(LABELS)
        },
        "ece": calibration_error(probabilities, labels),
        "nll": nll(np.log(np.clip(probabilities, 1e-12, None)), labels),
        "confusion": matrix.tolist(),
    }


def confusion(labels: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """Return for a training's report how often each label (row) was predicted as each (column)."""
    return np.bincount(labels * len(LABELS) + guesses, minlength=len(LABELS) ** 2).reshape(len(LABELS), len(LABELS))


def accuracy(matrix: np.ndarray) -> float:
    """Return for a training's report the share of correct predictions."""
    return float(np.trace(matrix) / matrix.sum())


def macro_f1(matrix: np.ndarray) -> float:
    """Return for a training's report the mean F1 of the classes; 0 for a class that neither occurs nor is predicted."""
    both = matrix.sum(0) + matrix.sum(1)
    return float(np.mean(np.divide(2 * np.diag(matrix), both, out=np.zeros(len(both)), where=both > 0)))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return for a training's report the expected calibration error (Naeini et al. 2015), over ten bins of equal
    width."""
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(right[bins == k].mean() - confidence[bins == k].mean()) * (bins == k).mean() for k in set(bins.tolist())
    ]
    return float(sum(gaps))


def _interval(values: list[float]) -> list[float]:
    return [float(bound) for bound in np.quantile(values, [0.025, 0.975])]
