"""Recipe of kind ``fusion``: the text ensemble, the picture, the text in it, and context, pooled.

The stated weights are the baseline. Weights fitted to out-of-fold predictions replace them only if they prove better on
posts that they were not fitted to, and so does the inversion of ironic texts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.sentiment.context import ContextModel, context_of
from bizcharts_pipeline.sentiment.fusion import (
    BASELINE,
    PARTS,
    SARCASTIC,
    FusionModel,
    FusionParts,
    Pool,
    inverted,
    pooled,
    sarcasm,
)
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.sentiment.temperature import Floats, at_temperature, fit_temperature, log_softmax
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes import image
from bizcharts_pipeline.training.recipes.encoders import PACKAGE
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.fitting import FOLDS, head, out_of_fold, posts_of
from bizcharts_pipeline.training.recipes.minilm import TOKENS

CONTEXT_C = 0.1
_LEAST_WEIGHT = 0.01  # of a fitted part

Labels = Sequence[int]
# Whether the first scores prove better than the second: (first, second, true classes, groups, seed), with figures.
Better = Callable[[Sequence[Score], Sequence[Score], Labels, Sequence[int], int], tuple[bool, Mapping[str, float]]]


class FusionRecipe:
    """Text, picture, the text in it, and context."""

    def __init__(self, better: Better, base: str = PACKAGE, tokens: int = TOKENS, home: Path | None = None) -> None:
        """Set the test that fitted weights have to pass, and encoder and home, as in :class:`MinilmRecipe`."""
        self._text, self._image, self._better = EnsembleRecipe(base, tokens, home), image.ImageRecipe(), better
        self.kind = "fusion"
        self.base_model, self.base_revision = self._text.base_model, self._text.base_revision
        self.code_version = f"1 of {self._text.code_version}, image {self._image.code_version}"
        self.settings: Mapping[str, Any] = {
            "weights": dict(BASELINE),
            "sarcastic": SARCASTIC,
            "context_c": CONTEXT_C,
            "text": self._text.settings,
            "image": self._image.settings,
        }

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train the parts, choose the pool, calibrate and write the fusion model; ``seed`` determines the folds.

        Raises:
            TooFewPictures: a class has too few posts with pictures, which are more than a text model needs.
        """
        image.with_pictures(examples)
        train_text = self._text.trainer()

        def train(some: Sequence[TextExample]) -> FusionParts:
            return FusionParts(train_text(some), image.train(some), train_context(some))

        judged, parts = out_of_fold(train, examples, seed)
        known = [examples[place] for place in judged]
        pool = choose_pool(parts, known, self._better, seed)
        FusionModel(train(examples), pool).save(folder)
        write_temperature(folder, 1.0)  # the pool has its own


def train_context(examples: Sequence[TextExample]) -> ContextModel:
    """Return the fusion's context model fitted to the training ``examples``."""
    posts, labels = posts_of(examples)
    return ContextModel(*head(np.array([context_of(post) for post in posts]), labels, CONTEXT_C))


def choose_pool(parts: Floats, examples: Sequence[TextExample], better: Better, seed: int) -> Pool:
    """Return the pool of the parts of the fusion in training that out-of-fold predictions support.

    ``parts`` (posts, parts, 3) are the predictions for ``examples`` by models that saw neither them nor their
    near-duplicates. Fitted weights are judged on posts of groups that they were not fitted to.
    """
    labels = np.array([example.label for example in examples])
    text = ~np.isnan(parts[:, 0, 0])
    text_temperature = fit_temperature(parts[text, 0], labels[text].tolist())
    seen = ~np.isnan(parts[:, 1, 0])
    parts, labels = parts[seen], labels[seen]
    groups = [example.group for example, counts in zip(examples, seen, strict=True) if counts]
    baseline = tuple(BASELINE[name] for name in PARTS)
    why: dict[str, Any] = {"posts": len(labels), "parts": {name: int((~np.isnan(parts[:, k, 0])).sum()) for k, name in
                                                           enumerate(PARTS)}}  # fmt: skip

    def judged(parts: Floats, weigh: Callable[[Floats, Floats], tuple[float, ...]]) -> list[Score]:
        return _held_out_scores(parts, labels, groups, weigh, seed)

    def stated(parts: Floats, labels: Floats) -> tuple[float, ...]:
        return baseline

    present = judged(parts, stated)
    fitted = judged(parts, fit_weights)
    stacked, why["stacked"] = better(fitted, present, labels.tolist(), groups, seed)
    weigh = fit_weights if stacked else stated
    present = fitted if stacked else present
    ironic = sarcasm(parts) >= SARCASTIC
    why["sarcastic"] = int(ironic.sum())
    inverts, why["inverted"] = False, None
    if ironic.any():
        inverts, why["inverted"] = better(judged(inverted(parts), weigh), present, labels.tolist(), groups, seed)
    used = inverted(parts) if inverts else parts
    weights = weigh(used, labels)
    temperature = fit_temperature(pooled(used, weights), labels.tolist())
    return Pool(
        weights, text_temperature, temperature, bool(inverts), why | {"weights": "stacked" if stacked else "stated"}
    )


def fit_weights(parts: Floats, labels: Floats) -> tuple[float, ...]:
    """Return the trained weights of the fusion's parts, each at least ``_LEAST_WEIGHT``, with the least log loss at
    the best temperature; they sum to 1."""
    from scipy.optimize import minimize

    rows = np.arange(len(labels))

    def loss(values: Floats) -> float:
        logits = pooled(parts, _weights(values[:-1])) * np.exp(values[-1])
        return float(-log_softmax(logits)[rows, labels].mean() + 1e-3 * (values**2).sum())

    start = np.log([BASELINE[name] for name in PARTS])
    found = minimize(loss, np.append(start - start.mean(), 0.0), method="L-BFGS-B")
    return tuple(_weights(found.x[:-1]).tolist())


def _weights(values: Floats) -> Floats:
    shares = np.exp(values - values.max())
    return np.asarray(_LEAST_WEIGHT + (1 - _LEAST_WEIGHT * len(values)) * shares / shares.sum())


def _held_out_scores(
    parts: Floats,
    labels: Floats,
    groups: Sequence[int],
    weigh: Callable[[Floats, Floats], tuple[float, ...]],
    seed: int,
) -> list[Score]:
    """Return calibrated scores of all posts, with weights and temperature from the posts of other groups."""
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.empty((len(labels), 3))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed + 1)
    for known, asked in folds.split(labels, labels, groups):
        weights = weigh(parts[known], labels[known])
        temperature = fit_temperature(pooled(parts[known], weights), labels[known].tolist())
        found[asked] = at_temperature(pooled(parts[asked], weights), temperature)
    return [Score(bearish, neutral, bullish) for bearish, neutral, bullish in found.tolist()]
