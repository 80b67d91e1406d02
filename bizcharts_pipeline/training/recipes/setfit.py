"""Recipe of kind ``setfit``: the encoder is tuned on pairs of posts with equal or different stance, then gets a head.

The tuning itself is `training.onpod.setfit_fit`, which also runs on pods. Temperature and quality are measured with a
second encoder tuned on four fifths of the posts; five of them would take ten minutes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.bases import Base
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.encoder import BertEncoder
from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.training.onpod import setfit_fit
from bizcharts_pipeline.training.recipe import BaseMissing, TextExample
from bizcharts_pipeline.training.recipes import minilm
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder, identity, load_encoder
from bizcharts_pipeline.training.recipes.fitting import RARITY, fit_calibrated, posts_of

PAIRS = 1_000
BITS = 32  # of the encoder, which is tuned in single precision


class SetFitRecipe:
    """A sentence encoder with contrastive tuning, and logistic regression."""

    def __init__(self, base: str = PACKAGE, tokens: int = minilm.TOKENS, pairs: int = PAIRS) -> None:
        """Set the encoder (see ``find_encoder``), the maximum of ``pairs``, and the ``tokens`` read per post."""
        self.kind = "setfit"
        self.base_model, self.base_revision = identity(base)
        self.code_version = "1"
        self.settings: Mapping[str, Any] = {
            "tokens": tokens,
            "pairs": pairs,
            "batch": setfit_fit.BATCH,
            "learning_rate": setfit_fit.LEARNING_RATE,
            "c": minilm.C,
            "rarity": RARITY,
        }
        self._base, self._tokens, self._pairs = base, tokens, pairs

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Tune the encoder, train the head, calibrate and write the model; ``seed`` determines the pairs and the
        calibration posts."""
        base = find_encoder(self._base)
        untuned = load_encoder(base, self._tokens, BITS)

        def train(some: Sequence[TextExample]) -> EncoderModel:
            return minilm.train(some, tuned(untuned, base, some, self._pairs, seed))

        fit_calibrated(train, examples, folder, seed, folds=1)


def tuned(untuned: BertEncoder, base: Base, examples: Sequence[TextExample], pairs: int, seed: int) -> BertEncoder:
    """Return the encoder after SetFit's contrastive tuning on the training ``examples``.

    Raises:
        BaseMissing: a library is not installed.
    """
    posts, labels = posts_of(examples)
    texts = [whole_text(post) for post in posts]
    try:
        body = setfit_fit.tune(base.folder, texts, labels, tokens=untuned.shape.tokens, pairs=pairs, seed=seed)
    except ModuleNotFoundError as error:
        raise BaseMissing(f"SetFit needs {error.name}: run `make install-ml`.") from None
    return untuned.with_weights(setfit_fit.weights_of(body))
