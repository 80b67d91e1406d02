"""A bullish/bearish head learned from a labelled CSV file that the user names, as a feature for the ensemble.

The texts of the file are encoded in memory: neither they nor their vectors are stored. What stays are the head's
numbers, one for each dimension of the encoder, which the ensemble adds to its own.
"""

import csv
import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import contaminated
from bizcharts_pipeline.sentiment import scorer
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.minilm import Encoder
from bizcharts_pipeline.sentiment.temperature import Floats
from bizcharts_pipeline.settings import REPOSITORY_ROOT, TransferSettings
from bizcharts_pipeline.training.recipe import TrainingError

C = 0.1  # scikit-learn's; among 0.01 to 2, the figures hardly differ
MIN_OF_A_SIDE = 50
MAX_ROWS = 10_000  # two minutes of encoding; of a larger file, that many are drawn


class UnusableTransferFile(TrainingError):
    """The file of ``[ml.transfer]`` cannot be read, or has too few rows of a side."""


@dataclass(frozen=True)
class Head:
    """Linear in the vector of a text: positive is bullish."""

    weights: Floats  # (dimensions,)
    intercept: float

    def __call__(self, vectors: Any) -> Floats:
        """Return the logits of vectors (texts, dimensions): (texts,)."""
        return np.asarray(vectors @ self.weights + self.intercept)


@dataclass(frozen=True)
class Transfer:
    """A labelled file. ``labelled`` returns the installation's labelled posts, gold included: rows like them are left
    out, because models are judged by these posts."""

    settings: TransferSettings
    labelled: Callable[[], Sequence[Post]]

    @property
    def path(self) -> Path:
        """The CSV file of labels from elsewhere, for training; a relative path is resolved against the repository's
        folder."""
        return REPOSITORY_ROOT / self.settings.file

    @cached_property
    def described(self) -> Mapping[str, Any]:
        """The name and hash of the file of labels from elsewhere that the recipe learns from, its rows by side, and
        the columns and words that were read, as plain JSON.

        Raises:
            UnusableTransferFile: it cannot be read.
        """
        content, rows = self._read
        sides = Counter(is_bullish for _, is_bullish in rows)
        return {
            "file": self.path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bearish": sides[False],
            "bullish": sides[True],
            "read": self.settings.model_dump(exclude={"file"}),
            "c": C,
        }

    def learn(self, encoder: Encoder, seed: int = 0) -> Head:
        """Return the head trained on the file of labels from elsewhere, without the rows that resemble a labelled post.

        Raises:
            UnusableTransferFile: the file cannot be read, or has too few rows of a side.
        """
        from sklearn.linear_model import LogisticRegression

        rows = self._without_copies(random.Random(seed))
        sides = Counter(is_bullish for _, is_bullish in rows)
        for is_bullish, word in ((False, self.settings.bearish), (True, self.settings.bullish)):
            if sides[is_bullish] < MIN_OF_A_SIDE:
                raise UnusableTransferFile(
                    f"{self.path}: {sides[is_bullish]} usable rows have the label {word!r}; at least {MIN_OF_A_SIDE} "
                    "are needed: correct [ml.transfer], or empty its `file`"
                )
        vectors = encoder.encode([whole_text(scorer.Post("", text)) for text, _ in rows])
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=5_000)
        model.fit(vectors, [is_bullish for _, is_bullish in rows])
        return Head(np.asarray(model.coef_[0], np.float64), float(model.intercept_[0]))

    def _without_copies(self, rng: random.Random) -> list[tuple[str, bool]]:
        _, rows = self._read
        drawn = rng.sample(rows, MAX_ROWS) if len(rows) > MAX_ROWS else rows
        posts = [Post(-1 - number, None, None, text, None) for number, (text, _) in enumerate(drawn)]
        copies = contaminated(posts, self.labelled())
        return [row for post, row in zip(posts, drawn, strict=True) if post.thread_id not in copies]

    @cached_property
    def _read(self) -> tuple[bytes, list[tuple[str, bool]]]:
        wanted = {self.settings.bearish: False, self.settings.bullish: True}
        try:
            content = read_regular(self.path)
            table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            missing = {self.settings.text, self.settings.label} - set(table.fieldnames or ())
            if missing:
                raise UnusableTransferFile(
                    f"{self.path}: there is no column {min(missing)!r}; correct `text` and `label` of [ml.transfer]"
                )
            rows = [(row[self.settings.text] or "", (row[self.settings.label] or "").strip()) for row in table]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UnusableTransferFile(
                f"{self.path}: it cannot be read as CSV ({reason_of(error):.200}); correct `file` of [ml.transfer]"
            ) from None
        return content, [(text, wanted[label]) for text, label in rows if label in wanted and text.strip()]
