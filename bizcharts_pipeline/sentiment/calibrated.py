"""Scorer for the trained text models: a model, and the temperature that calibrates it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bizcharts_pipeline.sentiment.features import MAX_CHARACTERS
from bizcharts_pipeline.sentiment.scorer import BATCH, Post, Score
from bizcharts_pipeline.sentiment.temperature import Floats, at_temperature

CALIBRATION = "calibration.json"


class TextModel(Protocol):
    """A model that classifies a post's text."""

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the text model's log-probabilities of the sentiment classes, uncalibrated: (posts, 3)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the text model's files, for its ``load``, into the existing ``folder``."""
        ...


class CalibratedScorer:
    """Adapts a text model to the scorer protocol."""

    def __init__(self, kind: str, model_version: str, model: TextModel, temperature: float) -> None:
        """Wrap a loaded model."""
        self.kind, self.model_version, self.batch = kind, model_version, BATCH
        self._model, self._temperature = model, temperature

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return the text model's score of each post, in order. Any text is accepted; only the start of a long one is
        read.
        """
        if not posts:
            return []
        rows = at_temperature(self._model.log_probabilities(posts), self._temperature)
        return [Score(bearish, neutral, bullish) for bearish, neutral, bullish in rows.tolist()]


def whole_text(post: Post) -> str:
    """Return subject and text as the text models read them; lone surrogates, which no tokeniser accepts, become
    question marks.
    """
    text = f"{post.subject}\n{post.text}".strip()[:MAX_CHARACTERS]
    return text.encode("utf-8", "replace").decode()


def write_temperature(folder: Path, temperature: float) -> None:
    """Store the temperature that calibrates a text model with its files."""
    (folder / CALIBRATION).write_text(json.dumps({"temperature": temperature}) + "\n", encoding="utf-8")


def read_temperature(folder: Path) -> float:
    """Return the temperature that calibrates a text model, as stored by :func:`write_temperature`."""
    return float(json.loads((folder / CALIBRATION).read_bytes())["temperature"])
