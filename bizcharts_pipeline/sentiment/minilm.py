"""A sentence encoder with logistic regression on its vectors: frozen ('minilm') or fine-tuned ('setfit').

In an ensemble, the training posts with similar vectors are a second classifier of the same vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.encoder import BertEncoder, Single
from bizcharts_pipeline.sentiment.neighbours import Neighbours
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax
from bizcharts_pipeline.sentiment.vectors import KeepingEncoder, Store

HEAD = "head.safetensors"


class Encoder(Protocol):
    """Maps texts to vectors of length 1."""

    def encode(self, texts: Sequence[str]) -> Single:
        """Return the text encoder's vector of each text: (texts, dimensions)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the text encoder's files for ``BertEncoder.load``."""
        ...


@dataclass(frozen=True)
class EncoderModel:
    """An encoder with its classification head. With ``neighbours``, the logarithms of both are added."""

    encoder: Encoder
    weights: Floats  # (3, dimensions)
    intercepts: Floats  # (3,)
    neighbours: Neighbours | None = None

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the sentiment classes by the texts' vectors: (posts, 3)."""
        vectors = self.encoder.encode([whole_text(post) for post in posts])
        found = log_softmax(vectors @ self.weights.T + self.intercepts)
        return log_softmax(found + self.neighbours.log_probabilities(vectors)) if self.neighbours else found

    def save(self, folder: Path) -> None:
        """Write the text model's encoder, head, and neighbours."""
        from safetensors.numpy import save_file

        self.encoder.save(folder)
        head = {"weights": self.weights, "intercepts": self.intercepts}
        save_file({name: np.ascontiguousarray(array) for name, array in head.items()}, folder / HEAD)
        if self.neighbours:
            self.neighbours.save(folder)

    @classmethod
    def load(cls, folder: Path, store: Store | None = None) -> "EncoderModel":
        """Read the text model from the files of :meth:`save`. ``store``: where vectors of texts are kept; ``None``:
        nowhere.
        """
        from safetensors.numpy import load_file

        encoder = BertEncoder.load(folder)
        kept = KeepingEncoder(encoder, store) if store else encoder
        return cls(kept, **load_file(folder / HEAD), neighbours=Neighbours.load(folder))
