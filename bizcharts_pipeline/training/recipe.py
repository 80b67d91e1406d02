"""What every way of training a text model takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.scorer import Post


class TrainingError(BizchartsError):
    """A model could not be trained; nothing of it was registered."""


class BrokenResult(TrainingError):
    """What a pod brought cannot be made a model of, however often it is tried."""


class BaseMissing(TrainingError):
    """The pretrained model to start from is not on this machine."""


@dataclass(frozen=True)
class TextExample:
    """A labelled post as a text model learns from it."""

    thread_id: int
    posted_at: datetime | None  # naive UTC
    post: Post
    label: int  # 0 bearish, 1 neutral, 2 bullish
    group: int  # near-duplicates share it: what calibrates or validates must not be split from them


class Recipe(Protocol):
    """A way of training: the same examples, seed and ``code_version`` give the same files."""

    @property
    def kind(self) -> str:
        """What `sentiment.loading` knows the model by."""
        ...

    @property
    def base_model(self) -> str | None:
        """The pretrained model's name; ``None``: it starts from nothing."""
        ...

    @property
    def base_revision(self) -> str | None:
        """Which state of it."""
        ...

    @property
    def code_version(self) -> str:
        """Rises with any change of the code that changes the result."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Plain JSON."""
        ...

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train on ``examples`` and write the model's files, calibration included, into the empty ``folder``.

        Raises:
            TrainingError: the examples do not do, or the base is not at hand (:class:`BaseMissing`).
        """
        ...
