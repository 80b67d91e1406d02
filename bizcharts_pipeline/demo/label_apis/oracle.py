"""The model behind the simulated label APIs: right as often as it is told to be, and knowing how often that is.

It cannot read: a hidden truth tells it each post's class. How a real model takes an injected instruction is nothing
that it can measure; its gullible modes show whether one *could* reach a model that obeys.
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.stances import STANCES, Stance
from bizcharts_pipeline.text.html import html_to_text

Truth = Callable[[str], Stance | None]

_SPREAD = 0.15  # how far its certainty of one post may lie from its accuracy
_BEGINNING = 48  # letters that tell posts apart where the end was cut off
_ORDER = re.compile(r"\b(?:answer|reply|output|say|label|stance)\W{1,12}(bearish|neutral|bullish)\b", re.IGNORECASE)
_QUOTE = re.compile(r">>\d+")


class Gullible(StrEnum):
    """Which instructions of a question the model obeys, besides the system's."""

    NEVER = "never"
    OUTSIDE = "outside"  # those that stand outside the part that is marked as a post
    ANYWHERE = "anywhere"


@dataclass(frozen=True)
class Verdict:
    """What the model thinks of one post; the probabilities are in the order of ``STANCES`` and sum to 1."""

    stance: Stance
    probabilities: tuple[float, float, float]


class Oracle:
    """A model of known ``accuracy`` (above 1/3), the same for ever for the same model, text and image.

    Its certainty differs from post to post, and it is right exactly as often as it is certain: top-label calibrated
    by construction. Where ``truth`` has none for a text, it is of course never right.

    Args:
        truth: class of a post by its text, as far as a question marks one (:func:`marked_post`);
            :func:`hash_truth` if ``None``.
    """

    def __init__(
        self,
        truth: Truth | None = None,
        accuracy: float = 0.8,
        seed: int = 7,
        *,
        gullible: Gullible = Gullible.NEVER,
    ) -> None:
        self.truth = truth or hash_truth
        self.accuracy = accuracy
        self.seed = seed
        self.gullible = gullible

    def judge(self, model: str, text: str, image: bytes | None = None) -> Verdict:
        """Return what ``model`` thinks of a question."""
        inside, outside = marked_post(text)
        heard = {Gullible.NEVER: "", Gullible.OUTSIDE: outside, Gullible.ANYWHERE: text}[self.gullible]
        if order := _ORDER.search(unicodedata.normalize("NFKC", heard)):
            ordered = next(stance for stance in STANCES if stance == order[1].lower())
            return _verdict(ordered, 0.97)
        digest = hashlib.sha256(f"{self.seed}\x1f{model}\x1f{inside}\x1f".encode("utf-8", "replace") + (image or b""))
        source = random.Random(digest.digest())
        spread = max(0.0, min(_SPREAD, 1 - self.accuracy - 0.005, self.accuracy - 0.34))
        certainty = self.accuracy + spread * (2 * source.random() - 1)
        truth = self.truth(inside)
        if truth is None:
            return _verdict(source.choice(STANCES), certainty)
        right = source.random() < certainty
        wrong = source.choice([stance for stance in STANCES if stance != truth])
        return _verdict(truth if right else wrong, certainty)


def marked_post(text: str) -> tuple[str, str]:
    """Split a question as a model reads it: into what stands between the first ``<post>`` and the first ``</post>``
    after it, and all the rest. A question without the marks is a post as a whole.
    """
    before, mark, rest = text.partition("<post>")
    if not mark:
        return text, ""
    inside, _, after = rest.partition("</post>")
    return inside.strip(), before + after


def hash_truth(text: str) -> Stance:
    """A truth without sense: each text has one of the three classes, which nothing in its words gives away."""
    return STANCES[hashlib.sha256(_squeezed(text).encode()).digest()[0] % 3]


def world_truth(world: World, begin: datetime, end: datetime) -> Truth:
    """Return the truth of the posts of a simulated board between two naive UTC times, known by their words."""
    by_text: dict[str, Stance] = {}
    by_beginning: dict[str, Stance] = {}
    for thread in world.threads_between(begin, end):
        said = _squeezed(f"{thread.subject_text or ''}\n{html_to_text(thread.html)}")
        by_text[said] = by_beginning[said[:_BEGINNING]] = thread.stance

    def truth(text: str) -> Stance | None:
        said = _squeezed(text.removeprefix("Subject: "))
        return by_text.get(said) or by_beginning.get(said[:_BEGINNING])

    return truth


def _verdict(stance: Stance, certainty: float) -> Verdict:
    bearish, neutral, bullish = (certainty if each == stance else (1 - certainty) / 2 for each in STANCES)
    return Verdict(stance, (bearish, neutral, bullish))


def _squeezed(text: str) -> str:
    """Return the letters and digits of ``text``, without quote links: what survives the cleaning of a post."""
    plain = unicodedata.normalize("NFKC", _QUOTE.sub(" ", text)).lower()
    return "".join(letter for letter in plain if letter.isalnum())
