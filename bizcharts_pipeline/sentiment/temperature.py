"""Temperature scaling: one parameter that calibrates a model's confidence.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017). It does not change the most
likely class.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLDEST, HOTTEST = 1 / 20, 20.0  # a model that is always right on its calibration posts would get 0


def log_softmax(logits: NDArray[Any]) -> Floats:
    """Return a sentiment model's log-probabilities from its logits, row by row."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def at_temperature(log_probabilities: NDArray[Any], temperature: float) -> Floats:
    """Return a sentiment model's probabilities at ``temperature``, (posts, classes): less confident above 1, more below
    1.
    """
    return np.asarray(np.exp(log_softmax(np.asarray(log_probabilities, np.float64) / temperature)))


def fit_temperature(log_probabilities: NDArray[Any], labels: Sequence[int]) -> float:
    """Return the temperature that calibrates a sentiment model, ``COLDEST`` to ``HOTTEST``, with the least log loss on
    posts not used in training.

    ``log_probabilities`` may also be logits: (posts, classes), finite; ``labels`` are classes from 0. The loss is
    convex in the inverse temperature, so the minimum is unique.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(log_probabilities, np.float64)
    rows, truth = np.arange(len(labels)), np.asarray(labels, np.int64)

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / math.exp(log_temperature))[rows, truth].mean())

    bounds = math.log(COLDEST), math.log(HOTTEST)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
