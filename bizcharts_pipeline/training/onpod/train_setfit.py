"""Trains a SetFit model: ``python code/train_setfit.py data/spec.json``.

``spec.json``: ``base``, ``revision``, ``seed``, ``tokens``, ``pairs``, ``c`` and ``rarity`` (for the logistic
regression), and ``encoder``, the shape of the base as the scorer reads it (``encoder.json``). See `text_job` for the
data, and `outcome` for the exit statuses.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import setfit_fit
import text_job
from calibration import log_softmax
from messages import Say
from outcome import BadInput
from text_base import fetch_base, fingerprint

FIELDS = {"base", "revision", "seed", "tokens", "pairs", "c", "rarity", "encoder"}


class EncoderAndHead:
    """A tuned encoder and a logistic regression on its vectors."""

    def __init__(self, base: Path, shape: dict[str, Any], body: Any, half: dict[str, Any], head: Any) -> None:
        self._base, self._shape, self._body, self._half = base, shape, body, half
        self._weights, self._intercepts = head.coef_, head.intercept_

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        return log_softmax(encode(self._body, texts) @ self._weights.T + self._intercepts)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        kept = {name: array for name, array in self._half.items() if not name.startswith("pooler.")}
        save_file(kept, folder / "encoder.safetensors")
        shutil.copyfile(self._base / "tokenizer.json", folder / "tokenizer.json")
        (folder / "encoder.json").write_text(json.dumps(self._shape) + "\n")
        head = {"weights": self._weights, "intercepts": self._intercepts}
        save_file(
            {name: np.ascontiguousarray(array, np.float64) for name, array in head.items()}, folder / "head.safetensors"
        )


def prepare(spec: dict[str, Any], say: Say) -> tuple[text_job.Train, dict[str, Any]]:
    """Return the training function of SetFit, and its description for the report."""
    if odd := spec.keys() ^ FIELDS:
        raise BadInput(f"spec.json: {min(odd)} is {'unknown' if min(odd) in spec else 'missing'}")
    base = fetch_base(spec["base"], spec["revision"])

    def train(texts: list[str], labels: list[int]) -> EncoderAndHead:
        body = setfit_fit.tune(base, texts, labels, tokens=spec["tokens"], pairs=spec["pairs"], seed=spec["seed"])
        half = in_half_precision(body)
        say("tuned", pairs=spec["pairs"], posts=len(texts))
        return EncoderAndHead(base, spec["encoder"], body, half, _head(encode(body, texts), labels, spec))

    settings = {name: spec[name] for name in ("tokens", "pairs", "c", "rarity")}
    return train, {"base_sha256": fingerprint(base), "settings": settings, "seed": spec["seed"]}


def in_half_precision(body: Any) -> dict[str, Any]:
    """Round the weights of the encoder trained by SetFit to half precision, as they are stored, and return them in
    it."""
    import torch

    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(parameter.half().float())
    return {name: np.ascontiguousarray(array, np.float16) for name, array in setfit_fit.weights_of(body).items()}


def encode(body: Any, texts: Sequence[str]) -> np.ndarray:
    """Return one vector of length 1 per text by the encoder trained by SetFit: (texts, dimensions)."""
    return np.asarray(body.encode(list(texts), normalize_embeddings=True, show_progress_bar=False), np.float32)


def _head(vectors: np.ndarray, labels: list[int], spec: dict[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    weights = {label: (count / len(labels)) ** -spec["rarity"] for label, count in Counter(labels).items()}
    mean = sum(weights[label] for label in labels) / len(labels)
    balanced = {label: weight / mean for label, weight in weights.items()}
    return LogisticRegression(C=spec["c"], class_weight=balanced, max_iter=5_000).fit(vectors, labels)


if __name__ == "__main__":
    sys.exit(text_job.main(prepare))
