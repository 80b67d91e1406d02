"""Recipe of kind ``lexicon_refit``: the shipped lexicon with its calibration fitted to other posts.

The shipped calibration may have seen the gold posts. A rival has to beat the lexicon fitted to the same posts as the
rival.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.sentiment.features import features
from bizcharts_pipeline.sentiment.fit_lexicon import INVERSE_REGULARISATION, fit
from bizcharts_pipeline.sentiment.lexicon import CODE_VERSION, make_stance_reader
from bizcharts_pipeline.sentiment.lexicon_refit import LexiconModel
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.fitting import check, class_weights, posts_of


def train(examples: Sequence[TextExample], *, weighted: bool) -> LexiconModel:
    """Return the lexicon model fitted to the training ``examples``: with natural class frequencies like the shipped
    one, or ``weighted`` classes."""
    posts, labels = posts_of(examples)
    reader = make_stance_reader()
    values = [features(post, reader) for post in posts]
    return LexiconModel(fit(values, labels, class_weights(labels) if weighted else None))


def train_with_feature(
    examples: Sequence[TextExample], feature: Sequence[float]
) -> tuple[LexiconModel, tuple[float, float, float]]:
    """Return the lexicon model fitted, with weighted classes, to the training ``examples`` and one more ``feature`` of
    each; and the feature's weights in the three logits, which the model itself lacks."""
    posts, labels = posts_of(examples)
    reader = make_stance_reader()
    values = [(*features(post, reader), value) for post, value in zip(posts, feature, strict=True)]
    fitted = fit(values, labels, class_weights(labels))
    own = replace(fitted, bearish=fitted.bearish[:-1], bullish=fitted.bullish[:-1])
    return LexiconModel(own), (fitted.bearish[-1], 0.0, fitted.bullish[-1])


class LexiconRecipe:
    """The lexicon, fitted like the shipped one by sentiment/fit_lexicon.py."""

    def __init__(self) -> None:
        """There are no options."""
        self.kind = "lexicon_refit"
        self.base_model: str | None = None
        self.base_revision: str | None = None
        self.code_version = f"1.{CODE_VERSION}"
        self.settings: Mapping[str, Any] = {"c": INVERSE_REGULARISATION}

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Fit the lexicon model to the training examples and write it. It is deterministic; a regression on sixteen
        features needs no temperature."""
        check(examples)
        train(examples, weighted=False).save(folder)
        write_temperature(folder, 1.0)
