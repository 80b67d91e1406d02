"""Recipe of kind ``ensemble``: geometric mean of TF-IDF, two readings of a frozen encoder, and the lexicon.

Their errors differ: TF-IDF knows words seen before, the encoder words of similar meaning, and the lexicon the board's
slang by rule. The encoder's vectors are read by a logistic regression and by their neighbours among the examples. The
lexicon's weights are refitted on the examples alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.ensemble import EnsembleModel
from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.training.recipe import Recipe, TextExample
from bizcharts_pipeline.training.recipes import lexicon, minilm, tfidf
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder, identity, load_encoder
from bizcharts_pipeline.training.recipes.fitting import fit_calibrated
from bizcharts_pipeline.training.recipes.transfer import Head, Transfer


class EnsembleRecipe:
    """TF-IDF, a frozen sentence encoder, and the lexicon's features, each with its own logistic regression; and the
    encoder's neighbours."""

    def __init__(
        self,
        base: str = PACKAGE,
        tokens: int = minilm.TOKENS,
        home: Path | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        """Set encoder and home, as in :class:`MinilmRecipe`, and a labelled file to learn a feature from."""
        parts: list[Recipe] = [lexicon.LexiconRecipe(), minilm.MinilmRecipe(base, tokens), tfidf.TfidfRecipe()]
        self.kind = "ensemble"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "2 of " + ", ".join(f"{part.kind} {part.code_version}" for part in parts)
        self._parts: Mapping[str, Any] = {part.kind: part.settings for part in parts} | {
            "neighbours": {"sharpness": minilm.SHARPNESS, "floor": minilm.FLOOR}
        }
        self._base, self._tokens, self._home, self._transfer = base, tokens, home, transfer

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the recipe's members, and the description of the file of transfer.

        Raises:
            UnusableTransferFile: it cannot be read.
        """
        return {**self._parts, **({"transfer": self._transfer.described} if self._transfer else {})}

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train the ensemble, calibrate and write the model; ``seed`` determines the calibration folds."""
        fit_calibrated(self.trainer(), examples, folder, seed)

    def trainer(self) -> Callable[[Sequence[TextExample]], EnsembleModel]:
        """Return a training function that encodes each post once.

        Raises:
            BaseMissing: the encoder is not on this machine.
            UnusableTransferFile: the labelled file cannot be learned from.
        """
        train_minilm = minilm.trainer(self._base, self._tokens, self._home, neighbours=True)
        if self._feature is not None:
            return _with_feature(train_minilm, self._feature)

        def train(some: Sequence[TextExample]) -> EnsembleModel:
            return EnsembleModel(
                {
                    "lexicon_refit": lexicon.train(some, weighted=True),
                    "minilm": train_minilm(some),
                    "tfidf": tfidf.train(some),
                }
            )

        return train

    @cached_property
    def _feature(self) -> Head | None:
        if self._transfer is None:
            return None
        encoder = load_encoder(find_encoder(self._base), self._tokens, minilm.BITS)  # keeps no vectors
        return self._transfer.learn(encoder)


def _with_feature(
    train_minilm: Callable[[Sequence[TextExample]], EncoderModel], feature: Head
) -> Callable[[Sequence[TextExample]], EnsembleModel]:
    """Return the training function of an ensemble whose lexicon regression has ``feature`` besides the lexicon's own.

    Regression and feature are linear, and an ensemble adds its members' logits. So what the regression makes of the
    feature is added to the encoder's head, and a trained model has the files and the code of one without the feature.
    """

    def train(some: Sequence[TextExample]) -> EnsembleModel:
        encoding = train_minilm(some)
        vectors = encoding.encoder.encode([whole_text(example.post) for example in some])
        rules, slopes = lexicon.train_with_feature(some, feature(vectors).tolist())
        head = replace(
            encoding,
            weights=encoding.weights + np.outer(slopes, feature.weights),
            intercepts=encoding.intercepts + np.array(slopes) * feature.intercept,
        )
        return EnsembleModel({"lexicon_refit": rules, "minilm": head, "tfidf": tfidf.train(some)})

    return train
