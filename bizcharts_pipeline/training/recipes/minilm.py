"""The recipe of kind ``minilm``: a sentence encoder as it is, and logistic regression on its vectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.minilm import Encoder, EncoderModel
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.encoders import (
    PACKAGE,
    RememberingEncoder,
    find_encoder,
    identity,
    load_encoder,
)
from bizcharts_pipeline.training.recipes.fitting import RARITY, Train, fit_calibrated, head, posts_of

C = 2.0
TOKENS = 96


def train(examples: Sequence[TextExample], encoder: Encoder) -> EncoderModel:
    """Return the head of ``examples`` on what ``encoder`` says of them."""
    posts, labels = posts_of(examples)
    return EncoderModel(encoder, *head(encoder.encode([whole_text(post) for post in posts]), labels, C))


def trainer(base: str, tokens: int) -> Train:
    """Return a ``train`` that reads no post twice.

    Raises:
        BaseMissing: the encoder is not on this machine.
    """
    encoder = RememberingEncoder(load_encoder(find_encoder(base), tokens))
    return lambda examples: train(examples, encoder)


class MinilmRecipe:
    """A frozen sentence encoder and logistic regression."""

    def __init__(self, base: str = PACKAGE, tokens: int = TOKENS) -> None:
        """Take an encoder (see ``find_encoder``); ``tokens`` of a post are read. It is looked for when fitting."""
        self.kind = "minilm"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "1"
        self.settings: Mapping[str, Any] = {"tokens": tokens, "c": C, "rarity": RARITY}
        self._base, self._tokens = base, tokens

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train, calibrate and write; ``seed`` chooses the folds that calibrate."""
        fit_calibrated(trainer(self._base, self._tokens), examples, folder, seed)
