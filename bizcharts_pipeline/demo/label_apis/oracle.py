"""The model behind the simulated label APIs: of a given accuracy, and calibrated.

It does not read posts: a hidden truth provides each post's class. So it cannot measure how a real model reacts to
injected instructions; its gullible modes show whether an instruction *could* reach a model that obeys.
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
from bizcharts_pipeline.text.question import INSTRUCTION

Truth = Callable[[str], Stance | None]

_SPREAD = 0.15  # maximum difference between the certainty of a post and the accuracy
_BEGINNING = 48  # letters that identify a post whose end was cut off
_ORDER = re.compile(r"\b(?:answer|reply|output|say|label|stance)\W{1,12}(bearish|neutral|bullish)\b", re.IGNORECASE)
_QUOTE = re.compile(r">>\d+")


class Gullible(StrEnum):
    """Instructions in a user message that the model obeys, in addition to those of the system message."""

    NEVER = "never"
    OUTSIDE = "outside"  # those outside the part marked as a post
    ANYWHERE = "anywhere"


@dataclass(frozen=True)
class Verdict:
    """The model's answer for one post; the probabilities are in the order of ``STANCES`` and sum to 1."""

    stance: Stance
    probabilities: tuple[float, float, float]


class Oracle:
    """A model of known ``accuracy`` (above 1/3), deterministic for each model, text and image.

    Its certainty differs from post to post and equals its probability of being right: it is top-label calibrated by
    construction. If ``truth`` has no class for a text, it is never right.

    Args:
        truth: class of a post by its text, within the markers if there are any (:func:`marked_post`);
            default :func:`hash_truth`.
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
        """Return the verdict of the simulated ``model`` on a question."""
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
    """Split a question to a simulated model into the text between the first ``<post>`` and the following ``</post>``,
    and the rest. In a scoring question, the post follows the instruction; any other question without markers is a post
    as a whole."""
    if text.startswith(INSTRUCTION):
        before, _, inside = text.partition("\n\n")
        return inside.strip(), before
    before, mark, rest = text.partition("<post>")
    if not mark:
        return text, ""
    inside, _, after = rest.partition("</post>")
    return inside.strip(), before + after


def hash_truth(text: str) -> Stance:
    """Return, as the truth that a simulated model knows, an arbitrary but fixed class for each text, independent of
    its meaning."""
    return STANCES[hashlib.sha256(_squeezed(text).encode()).digest()[0] % 3]


def world_truth(world: World, begin: datetime, end: datetime) -> Truth:
    """Return the truth about the posts of a simulated board between two naive UTC times, looked up by their text."""
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
    """Return the letters and digits of ``text``, without quote links; cleaning a post does not change them."""
    plain = unicodedata.normalize("NFKC", _QUOTE.sub(" ", text)).lower()
    return "".join(letter for letter in plain if letter.isalnum())
