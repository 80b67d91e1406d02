"""Calibration: corrects for oversampled classes, then scales by one temperature."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from checks import LABELS

FILE = "calibration.json"  # next to an adapter's weights
_COLDEST, _HOTTEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """Probabilities are ``softmax((log_p + shift) / temperature)``."""

    shift: tuple[float, ...]  # log of a class's natural share over its share in the training rows
    temperature: float

    def shifted(self, log_p: np.ndarray) -> np.ndarray:
        """Return a trained adapter's log-probabilities corrected for oversampling; temperature is not applied."""
        return log_softmax(log_p + np.array(self.shift))

    def probabilities(self, log_p: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities for a trained adapter's raw ``log_p``."""
        return np.asarray(np.exp(log_softmax(self.shifted(log_p) / self.temperature)))

    def save(self, folder: Path) -> None:
        """Write the calibration to an adapter's folder."""
        (folder / FILE).write_text(json.dumps({"labels": LABELS, **asdict(self)}, indent=1) + "\n")


UNCALIBRATED = Calibration((0.0,) * len(LABELS), 1.0)


def read_calibration(folder: Path) -> Calibration:
    """Return the calibration saved in an adapter's folder."""
    values = json.loads((folder / FILE).read_bytes())
    return Calibration(tuple(values["shift"]), float(values["temperature"]))


def prior_shift(natural: Sequence[int], shown: Sequence[int]) -> tuple[float, ...]:
    """Return the correction for the training's oversampling (Saerens et al. 2002): log of natural over shown share; 0
    for an absent class."""
    return tuple(
        math.log(n / sum(natural)) - math.log(m / sum(shown)) if n and m else 0.0
        for n, m in zip(natural, shown, strict=True)
    )


def fit_temperature(log_p: np.ndarray, labels: np.ndarray) -> float:
    """Return, for the calibration of a training, the temperature with the least negative log-likelihood (Guo et al.
    2017), or 1 without labels.

    Found by golden-section search over its logarithm.
    """
    if not len(labels):
        return 1.0
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if nll(log_p / math.exp(left), labels) <= nll(log_p / math.exp(right), labels):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the true labels of a training's validation posts."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of a trained model's logits; their exponentials sum to one over the last axis."""
    top = logits - logits.max(-1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(-1, keepdims=True)))
