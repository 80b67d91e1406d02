"""Recipe of kind ``cryptobert``: a LoRA adapter (on query and value) and a new head for CryptoBERT.

The temperature is fitted with a second adapter trained on four fifths of the posts. The training itself is
`training.onpod.bert_lora`, which also runs on pods.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bizcharts_pipeline.sentiment.bases import Base, NoBase, find_base
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.cryptobert import ABOUT, KIND, Classifier
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats
from bizcharts_pipeline.training.onpod import bert_lora
from bizcharts_pipeline.training.recipe import BaseMissing, TextExample, TrainingError
from bizcharts_pipeline.training.recipes.fitting import fit_calibrated, posts_of


class CryptoBertRecipe:
    """LoRA on a sequence classifier.

    Args:
        base: hub name, or folder, of a classifier with the classes bearish, neutral and bullish.
        revision: the hub's commit; if empty, the local one.
    """

    def __init__(self, base: str, revision: str = "", lora: bert_lora.LoraSettings = bert_lora.DEFAULT) -> None:
        self.kind = KIND
        self.code_version = "1"
        self.settings: Mapping[str, Any] = asdict(lora)
        self._lora = lora
        self._found = _found(base, revision)
        here = self._found if isinstance(self._found, Base) else None
        self.base_model = here.name if here else base
        self.base_revision = here.revision if here else revision or None

    def require_base(self) -> Base:
        """Return the recipe's base model, CryptoBERT.

        Raises:
            BaseMissing: it is not on this machine.
        """
        if isinstance(self._found, NoBase):
            raise BaseMissing(str(self._found)) from self._found
        return self._found

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train CryptoBERT, calibrate and write the model; ``seed`` determines initial weights, order and the
        calibration posts."""
        base = self.require_base()

        def train(some: Sequence[TextExample]) -> _Adapted:
            posts, labels = posts_of(some)
            try:
                model, tokenizer = bert_lora.fit(
                    base.folder, [whole_text(post) for post in posts], labels, self._lora, seed
                )
            except (bert_lora.Unusable, bert_lora.Diverged) as error:
                raise TrainingError(f"CryptoBERT was not trained: {error}") from error
            return _Adapted(model, tokenizer, base, self._lora.tokens)

        fit_calibrated(train, examples, folder, seed, folds=1)


@dataclass(frozen=True)
class _Adapted:
    """A base with its adapter, as required by `sentiment.calibrated`."""

    model: Any
    tokenizer: Any
    base: Base
    tokens: int

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        return Classifier(self.model.cpu(), self.tokenizer, self.tokens).log_probabilities(posts)

    def save(self, folder: Path) -> None:
        bert_lora.save(self.model, self.tokenizer, folder)
        about = {"base_sha256": self.base.sha256, "tokens": self.tokens}
        (folder / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")


def _found(base: str, revision: str) -> Base | NoBase:
    try:
        return find_base(base, revision)
    except NoBase as error:
        return error
