"""Temperature scaling: one number that makes a model as sure as it is right.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017). What is most likely stays so.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLDEST, HOTTEST = 1 / 20, 20.0  # a model that is always right on what calibrates it would ask for 0


def log_softmax(logits: NDArray[Any]) -> Floats:
    """Return logarithms of probabilities, row by row."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def at_temperature(log_probabilities: NDArray[Any], temperature: float) -> Floats:
    """Return the probabilities at ``temperature``: above 1 less sure, below 1 surer. (posts, classes)"""
    return np.asarray(np.exp(log_softmax(np.asarray(log_probabilities, np.float64) / temperature)))


def fit_temperature(log_probabilities: NDArray[Any], labels: Sequence[int]) -> float:
    """Return the temperature, ``COLDEST`` to ``HOTTEST``, of the least log loss on posts that the model did not learn
    from.

    ``log_probabilities`` may be logits as well: (posts, classes), finite; ``labels`` are classes from 0. The loss is
    convex in the inverse of the temperature, so there is one minimum.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(log_probabilities, np.float64)
    rows, truth = np.arange(len(labels)), np.asarray(labels, np.int64)

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / math.exp(log_temperature))[rows, truth].mean())

    bounds = math.log(COLDEST), math.log(HOTTEST)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
