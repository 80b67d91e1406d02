"""What a label is of: the model that was asked, and the question that was put."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, Self

from bizcharts_pipeline.autolabel.protocol import Endpoint, Prompt, Question


class Model(Protocol):
    """What every provider says of itself."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def endpoint(self) -> Endpoint: ...


@dataclass(frozen=True)
class Version:
    """One way of asking. Labels of two versions are never mixed."""

    provider: str
    model: str
    endpoint: Endpoint
    prompt_version: str
    prompt_sha256: str

    @classmethod
    def of(cls, model: Model, prompt: Prompt) -> Self:
        """Return the version that ``model`` and ``prompt`` make."""
        return cls(model.name, model.model, model.endpoint, prompt.version, prompt.sha256)

    def question(self, text: str, image: bytes | None) -> Question:
        """Return the question of this text and picture, known by the hash of all that decides its answer."""
        parts = (self.provider, self.model, self.endpoint, self.prompt_sha256, _sha256(text.encode()))
        image_sha256 = _sha256(image) if image is not None else ""
        return Question(_sha256("\x1f".join((*parts, image_sha256)).encode()), text, image)


@dataclass(frozen=True)
class Inquiry:
    """The questions that may be put about a post, first choice first: with its picture, then without.

    None: there is nothing of it that may be sent.
    """

    thread_id: int
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Run:
    """One run of labelling; times are naive UTC."""

    run_id: str
    now: datetime

    @property
    def month(self) -> str:
        """The calendar month whose budget it spends, as 2026-11."""
        return f"{self.now:%Y-%m}"

    def at(self, now: datetime) -> Self:
        """Return the run at a later time: what it orders then is of that month."""
        return replace(self, now=now)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
