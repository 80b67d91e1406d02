"""Recipe of kind ``minilm``: a frozen sentence encoder with logistic regression on its vectors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.minilm import Encoder, EncoderModel
from bizcharts_pipeline.sentiment.neighbours import Neighbours
from bizcharts_pipeline.sentiment.temperature import Floats
from bizcharts_pipeline.sentiment.vectors import FileStore, KeepingEncoder, MemoryStore
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.encoders import (
    PACKAGE,
    find_encoder,
    identity,
    load_encoder,
)
from bizcharts_pipeline.training.recipes.fitting import RARITY, class_weights, fit_calibrated, head, posts_of

C = 2.0
TOKENS = 96
BITS = 8  # of the encoder: for vectors of 32 bits no model is better, and they take several times as long
# Of the neighbours. From 10 to 30 all factors improve the ensemble, from 15 on about alike.
SHARPNESS, FLOOR = 20.0, 0.02


def train(examples: Sequence[TextExample], encoder: Encoder, *, neighbours: bool = False) -> EncoderModel:
    """Return the model with a head fitted to the encoder's vectors of the training ``examples``, and with
    ``neighbours``."""
    posts, labels = posts_of(examples)
    vectors = encoder.encode([whole_text(post) for post in posts])
    similar = Neighbours(vectors, _votes(labels), np.array([SHARPNESS, FLOOR])) if neighbours else None
    return EncoderModel(encoder, *head(vectors, labels, C), similar)


def _votes(labels: Sequence[int]) -> Floats:
    weights = class_weights(labels)
    votes = np.zeros((len(labels), len(STANCES)))
    votes[np.arange(len(labels)), list(labels)] = [weights[label] for label in labels]
    return votes


def trainer(
    base: str, tokens: int, home: Path | None, *, neighbours: bool = False
) -> Callable[[Sequence[TextExample]], EncoderModel]:
    """Return a training function that encodes each post at most once, and reuses the vectors kept in ``home``.

    Raises:
        BaseMissing: the encoder is not on this machine.
    """
    store = FileStore.of_home(home) if home else MemoryStore()
    encoder = KeepingEncoder(load_encoder(find_encoder(base), tokens, BITS), store)
    return lambda examples: train(examples, encoder, neighbours=neighbours)


class MinilmRecipe:
    """A frozen sentence encoder and logistic regression."""

    def __init__(self, base: str = PACKAGE, tokens: int = TOKENS, home: Path | None = None) -> None:
        """Set the encoder (see ``find_encoder``), the ``tokens`` read per post, and the installation in which vectors
        are kept. The encoder is loaded by :meth:`fit`."""
        self.kind = "minilm"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "2"
        self.settings: Mapping[str, Any] = {"tokens": tokens, "bits": BITS, "c": C, "rarity": RARITY}
        self._base, self._tokens, self._home = base, tokens, home

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train the head on the encoder's vectors, calibrate and write the model; ``seed`` determines the calibration
        folds."""
        fit_calibrated(trainer(self._base, self._tokens, self._home), examples, folder, seed)
