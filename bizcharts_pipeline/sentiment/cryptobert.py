"""Scorer for CryptoBERT, a RoBERTa trained on posts about coins: stock, or with a trained adapter.

The model's configuration names the stance of each output. Outputs are mapped by name, never by position, as models of
this family differ in their order.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.sentiment.artifact import Artifact, CorruptModel
from bizcharts_pipeline.sentiment.bases import Base, NoBase, find_base
from bizcharts_pipeline.sentiment.calibrated import read_temperature, whole_text
from bizcharts_pipeline.sentiment.scorer import BATCH, Post, Score
from bizcharts_pipeline.sentiment.temperature import Floats, at_temperature, log_softmax
from bizcharts_pipeline.settings import load_settings

KIND, STOCK_KIND = "cryptobert", "cryptobert-stock"
ABOUT = "cryptobert.json"  # in a model's folder: {"base_sha256", "tokens"}
TOKENS = 128  # the base's training length; its authors advise against more
STANCES = ("bearish", "neutral", "bullish")
_BATCH = 32


class UnknownClasses(NoBase):
    """A model's outputs are not named bearish, neutral and bullish."""


class Classifier:
    """A loaded sequence classifier."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        """Wrap a model and its tokenizer; ``tokens`` of each post are read.

        Raises:
            UnknownClasses: its outputs are not the three stances.
        """
        self._model, self._tokenizer, self._tokens = model.eval(), tokenizer, tokens
        self._order = stance_order(model.config.id2label)

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return CryptoBERT's log-probabilities of the sentiment classes, uncalibrated: (posts, 3)."""
        import torch

        texts = [whole_text(post) for post in posts]
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # reduces padding
        logits = np.empty((len(texts), len(STANCES)))
        for start in range(0, len(texts), _BATCH):
            batch = by_length[start : start + _BATCH]
            encoded = self._tokenizer(
                [texts[index] for index in batch],
                truncation=True,
                max_length=self._tokens,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                said = self._model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits
            logits[batch] = said.double().numpy()[:, self._order]
        return log_softmax(logits)


class CryptoBertScorer:
    """Adapts a classifier and its temperature to the scorer protocol."""

    def __init__(self, kind: str, model_version: str, classifier: Classifier, temperature: float) -> None:
        """Wrap a loaded classifier."""
        self.kind, self.model_version, self.batch = kind, model_version, BATCH
        self._classifier, self._temperature = classifier, temperature

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return CryptoBERT's score of each post, in order; only the start of a long one is read."""
        rows = at_temperature(self._classifier.log_probabilities(posts), self._temperature)
        return [Score(*row) for row in rows.tolist()]


def stance_order(id2label: Mapping[int, str]) -> list[int]:
    """Return the positions of bearish, neutral and bullish among a classifier's outputs.

    Raises:
        UnknownClasses: its outputs are not these three.
    """
    named = {str(label).lower(): int(position) for position, label in id2label.items()}
    if len(id2label) != len(STANCES) or named.keys() != set(STANCES):
        raise UnknownClasses(
            f"The model's classes are {', '.join(map(str, id2label.values()))[:200]}, not bearish, neutral and "
            "bullish; choose another base, or name its classes in its config.json."
        )
    return [named[stance] for stance in STANCES]


def load_cryptobert(folder: Path, artifact: Artifact) -> CryptoBertScorer:
    """Return the scorer of a CryptoBERT adapter with verified files (`sentiment.artifact.read_artifact`).

    Its base must be on this machine: in the hub's cache, or in the folder ``cryptobert_base`` of ``[ml.training]``.

    Raises:
        NoBase: the base is missing or a different one.
        CorruptModel: the adapter is incomplete or damaged.
    """
    try:
        about = json.loads((folder / ABOUT).read_text())
        tokens, base_sha256, temperature = int(about["tokens"]), about["base_sha256"], read_temperature(folder)
    except (OSError, ValueError, KeyError, TypeError):
        raise CorruptModel(f"{folder}: {ABOUT} or its calibration is damaged; train the model again") from None
    base = _base_of(artifact)
    if base.sha256 != base_sha256:
        raise NoBase(f"{base.folder} is not the base on which {artifact.model_version} was trained.")
    model = load_classifier(base)
    try:
        from peft import PeftModel
        from transformers import AutoTokenizer

        adapted = PeftModel.from_pretrained(model, str(folder))
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CorruptModel(f"{folder}: {type(error).__name__} on loading; train the model again") from error
    return CryptoBertScorer(KIND, artifact.model_version, Classifier(adapted, tokenizer, tokens), temperature)


def _base_of(artifact: Artifact) -> Base:
    name, revision = artifact.base_model or "", artifact.base_revision or ""
    if "/" in name:  # on the hub
        return find_base(name, revision)
    folder = load_settings().ml.training.cryptobert_base
    if not Path(folder).expanduser().is_dir():
        raise NoBase(
            f"{artifact.model_version} was trained on a folder named {name}; set cryptobert_base of [ml.training] to "
            "that folder on this machine."
        )
    return find_base(folder, revision)


def stock_cryptobert(base: str, revision: str) -> CryptoBertScorer:
    """Return the scorer of the pretrained CryptoBERT without an adapter, uncalibrated: the baseline for adapters.

    Raises:
        NoBase: it is not on this machine.
    """
    found = find_base(base, revision)
    model = load_classifier(found)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(found.folder), local_files_only=True)
    version = f"{STOCK_KIND}-{found.sha256[:12]}"
    return CryptoBertScorer(STOCK_KIND, version, Classifier(model, tokenizer, TOKENS), temperature=1.0)


def load_classifier(base: Base) -> Any:
    """Return the pretrained sentiment classifier in 32-bit floats.

    Raises:
        NoBase: its files are damaged, or required packages are missing.
    """
    try:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise NoBase("CryptoBERT needs packages that are not installed: run `make install-ml`.") from None
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            str(base.folder), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise NoBase(f"{base.folder} cannot be loaded ({type(error).__name__}); fetch it again.") from error
