"""Stance of a text by the training posts with similar vectors.

Kernel regression (Nadaraya 1964; Watson 1964): each training post votes for its class, the more, the more similar its
vector is. A linear head on the same vectors has other errors.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.encoder import Single
from bizcharts_pipeline.sentiment.temperature import Floats

NEIGHBOURS = "neighbours.safetensors"


@dataclass(frozen=True)
class Neighbours:
    """The training posts' vectors and votes."""

    vectors: Single  # (posts, dimensions), of length 1
    votes: Floats  # (posts, 3): a post's weight in the column of its class
    kernel: Floats  # (2,): the factor of the cosine in the exponent, and what is added to each class's share

    def log_probabilities(self, vectors: Single) -> Floats:
        """Return the log-probabilities of the sentiment classes of texts with these vectors (texts, dimensions):
        (texts, 3).
        """
        sharpness, floor = self.kernel
        similar = (vectors @ self.vectors.T).astype(np.float64)
        weights = np.exp(sharpness * (similar - similar.max(axis=1, keepdims=True)))
        shares = weights @ self.votes
        shares = shares / shares.sum(axis=1, keepdims=True) + floor
        return np.asarray(np.log(shares / shares.sum(axis=1, keepdims=True)))

    def save(self, folder: Path) -> None:
        """Write the vectors of labelled posts as the file that :meth:`load` reads."""
        from safetensors.numpy import save_file

        arrays = {"vectors": self.vectors, "votes": self.votes, "kernel": self.kernel}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / NEIGHBOURS)

    @classmethod
    def load(cls, folder: Path) -> "Neighbours | None":
        """Read the vectors of labelled posts from the file of :meth:`save`; ``None`` if the text model has none."""
        from safetensors.numpy import load_file

        path = folder / NEIGHBOURS
        return cls(**load_file(path)) if path.is_file() else None
