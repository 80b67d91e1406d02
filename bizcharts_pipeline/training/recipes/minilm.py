"""Recipe of kind ``minilm``: a frozen sentence encoder with logistic regression on its vectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.minilm import Encoder, EncoderModel
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.encoders import (
    PACKAGE,
    CachingEncoder,
    find_encoder,
    identity,
    load_encoder,
)
from bizcharts_pipeline.training.recipes.fitting import RARITY, Train, fit_calibrated, head, posts_of

C = 2.0
TOKENS = 96


def train(examples: Sequence[TextExample], encoder: Encoder) -> EncoderModel:
    """Return the model with a head fitted to the vectors of ``examples`` by ``encoder``."""
    posts, labels = posts_of(examples)
    return EncoderModel(encoder, *head(encoder.encode([whole_text(post) for post in posts]), labels, C))


def trainer(base: str, tokens: int) -> Train:
    """Return a training function that encodes each post once.

    Raises:
        BaseMissing: the encoder is not on this machine.
    """
    encoder = CachingEncoder(load_encoder(find_encoder(base), tokens))
    return lambda examples: train(examples, encoder)


class MinilmRecipe:
    """A frozen sentence encoder and logistic regression."""

    def __init__(self, base: str = PACKAGE, tokens: int = TOKENS) -> None:
        """Set the encoder (see ``find_encoder``) and the ``tokens`` read per post. It is loaded by :meth:`fit`."""
        self.kind = "minilm"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "1"
        self.settings: Mapping[str, Any] = {"tokens": tokens, "c": C, "rarity": RARITY}
        self._base, self._tokens = base, tokens

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train, calibrate and write the model; ``seed`` determines the calibration folds."""
        fit_calibrated(trainer(self._base, self._tokens), examples, folder, seed)
