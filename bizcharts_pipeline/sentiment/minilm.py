"""A sentence encoder with logistic regression on its vectors: frozen ('minilm') or fine-tuned ('setfit')."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.encoder import BertEncoder, Single
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax

HEAD = "head.safetensors"


class Encoder(Protocol):
    """Maps texts to vectors of length 1."""

    def encode(self, texts: Sequence[str]) -> Single:
        """Return one vector for each text: (texts, dimensions)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files for ``BertEncoder.load``."""
        ...


@dataclass(frozen=True)
class EncoderModel:
    """An encoder with its classification head."""

    encoder: Encoder
    weights: Floats  # (3, dimensions)
    intercepts: Floats  # (3,)

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the classes: (posts, 3)."""
        vectors = self.encoder.encode([whole_text(post) for post in posts])
        return log_softmax(vectors @ self.weights.T + self.intercepts)

    def save(self, folder: Path) -> None:
        """Write encoder and head."""
        from safetensors.numpy import save_file

        self.encoder.save(folder)
        head = {"weights": self.weights, "intercepts": self.intercepts}
        save_file({name: np.ascontiguousarray(array) for name, array in head.items()}, folder / HEAD)

    @classmethod
    def load(cls, folder: Path) -> "EncoderModel":
        """Read the files of :meth:`save`."""
        from safetensors.numpy import load_file

        return cls(BertEncoder.load(folder), **load_file(folder / HEAD))
