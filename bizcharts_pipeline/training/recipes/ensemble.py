"""Recipe of kind ``ensemble``: geometric mean of TF-IDF, a frozen encoder and the lexicon.

Their errors differ: TF-IDF knows words seen before, the encoder words of similar meaning, and the lexicon the board's
slang by rule. The lexicon's weights are refitted on the examples alone.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.ensemble import EnsembleModel
from bizcharts_pipeline.training.recipe import Recipe, TextExample
from bizcharts_pipeline.training.recipes import lexicon, minilm, tfidf
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, identity
from bizcharts_pipeline.training.recipes.fitting import fit_calibrated


class EnsembleRecipe:
    """TF-IDF, a frozen sentence encoder, and the lexicon's features, each with its own logistic regression."""

    def __init__(self, base: str = PACKAGE, tokens: int = minilm.TOKENS) -> None:
        """Set the encoder, as in :class:`MinilmRecipe`."""
        parts: list[Recipe] = [lexicon.LexiconRecipe(), minilm.MinilmRecipe(base, tokens), tfidf.TfidfRecipe()]
        self.kind = "ensemble"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "1 of " + ", ".join(f"{part.kind} {part.code_version}" for part in parts)
        self.settings: Mapping[str, Any] = {part.kind: part.settings for part in parts}
        self._base, self._tokens = base, tokens

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train, calibrate and write the model; ``seed`` determines the calibration folds."""
        fit_calibrated(self.trainer(), examples, folder, seed)

    def trainer(self) -> Callable[[Sequence[TextExample]], EnsembleModel]:
        """Return a training function that encodes each post once.

        Raises:
            BaseMissing: the encoder is not on this machine.
        """
        train_minilm = minilm.trainer(self._base, self._tokens)

        def train(some: Sequence[TextExample]) -> EnsembleModel:
            return EnsembleModel(
                {
                    "lexicon_refit": lexicon.train(some, weighted=True),
                    "minilm": train_minilm(some),
                    "tfidf": tfidf.train(some),
                }
            )

        return train
