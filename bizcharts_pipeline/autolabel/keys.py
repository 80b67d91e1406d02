"""Identity of a label: the requested model and the question."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, Self

from bizcharts_pipeline.autolabel.protocol import Endpoint, Prompt, Question


class Model(Protocol):
    """Static description of a provider."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def endpoint(self) -> Endpoint: ...


@dataclass(frozen=True)
class Version:
    """A model, endpoint and prompt. Labels of two versions are never mixed."""

    provider: str
    model: str
    endpoint: Endpoint
    prompt_version: str
    prompt_sha256: str

    @classmethod
    def of(cls, model: Model, prompt: Prompt) -> Self:
        """Return the version of labels by ``model`` and ``prompt``."""
        return cls(model.name, model.model, model.endpoint, prompt.version, prompt.sha256)

    def question(self, text: str, image: bytes | None) -> Question:
        """Return the question to a labelling model with this text and image; its key hashes everything that determines
        the answer."""
        parts = (self.provider, self.model, self.endpoint, self.prompt_sha256, _sha256(text.encode()))
        image_sha256 = _sha256(image) if image is not None else ""
        return Question(_sha256("\x1f".join((*parts, image_sha256)).encode()), text, image)


@dataclass(frozen=True)
class Inquiry:
    """The possible questions about a post, in order of preference: with its image, then without. Empty if the post has
    nothing that may be sent."""

    thread_id: int
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Run:
    """One labelling run; times are naive UTC."""

    run_id: str
    now: datetime

    @property
    def month(self) -> str:
        """The calendar month whose budget the labelling run charges, as 2026-11."""
        return f"{self.now:%Y-%m}"

    def at(self, now: datetime) -> Self:
        """Return the labelling run at a later time; later requests are charged to that month."""
        return replace(self, now=now)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
