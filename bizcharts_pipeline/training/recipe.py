"""Protocol of the text-model recipes: inputs and outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.scorer import Post


class TrainingError(BizchartsError):
    """A model could not be trained; nothing was registered."""


class BrokenResult(TrainingError):
    """The result fetched from a pod cannot be turned into a model. Retrying does not help."""


class BaseMissing(TrainingError):
    """The pretrained model is not on this machine."""


class TooFewPictures(TrainingError):
    """Too few labelled posts have a picture with features. Models that read text alone can be trained."""


@dataclass(frozen=True)
class TextExample:
    """A labelled post as a training example for text models."""

    thread_id: int
    posted_at: datetime | None  # naive UTC
    post: Post
    label: int  # 0 bearish, 1 neutral, 2 bullish
    group: int  # shared by near-duplicates, which must not be split between training and calibration
    pseudo: bool = False  # labelled by the champion (pseudo_labels.py): for training alone, not for calibration


class Recipe(Protocol):
    """A training method: the same examples, seed and ``code_version`` give the same files."""

    @property
    def kind(self) -> str:
        """The recipe's name by which `sentiment.loading` selects the loader."""
        ...

    @property
    def base_model(self) -> str | None:
        """The pretrained model's name; ``None`` if there is none."""
        ...

    @property
    def base_revision(self) -> str | None:
        """The revision of the recipe's pretrained model."""
        ...

    @property
    def code_version(self) -> str:
        """The recipe's version, which changes with any change of the code that changes the result."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The recipe's hyperparameters as plain JSON."""
        ...

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train on ``examples`` and write the model's files, calibration included, into the empty ``folder``.

        Raises:
            TrainingError: the examples are insufficient, or the base is not available (:class:`BaseMissing`).
        """
        ...
