"""What the trained text models share: a model that reads posts, and the temperature that calibrates it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bizcharts_pipeline.sentiment.features import MAX_CHARACTERS
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.sentiment.temperature import Floats, at_temperature

CALIBRATION = "calibration.json"


class TextModel(Protocol):
    """A model that reads a post's words."""

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return logarithms of the classes' probabilities, uncalibrated: (posts, 3)."""
        ...

    def save(self, folder: Path) -> None:
        """Write what its ``load`` reads into ``folder``, which is there."""
        ...


class CalibratedScorer:
    """A text model behind the scorers' protocol."""

    def __init__(self, kind: str, model_version: str, model: TextModel, temperature: float) -> None:
        """Take a model that is ready to read."""
        self.kind, self.model_version = kind, model_version
        self._model, self._temperature = model, temperature

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one score a post, in their order. Any text is taken; of a long one only the start is read."""
        if not posts:
            return []
        rows = at_temperature(self._model.log_probabilities(posts), self._temperature)
        return [Score(bearish, neutral, bullish) for bearish, neutral, bullish in rows.tolist()]


def whole_text(post: Post) -> str:
    """Return subject and text as the models read them: half characters, which no tokeniser takes, as question marks."""
    text = f"{post.subject}\n{post.text}".strip()[:MAX_CHARACTERS]
    return text.encode("utf-8", "replace").decode()


def write_temperature(folder: Path, temperature: float) -> None:
    """Keep the temperature beside a model's files."""
    (folder / CALIBRATION).write_text(json.dumps({"temperature": temperature}) + "\n", encoding="utf-8")


def read_temperature(folder: Path) -> float:
    """Return what :func:`write_temperature` kept."""
    return float(json.loads((folder / CALIBRATION).read_bytes())["temperature"])
