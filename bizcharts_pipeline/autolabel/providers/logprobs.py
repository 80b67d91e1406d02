"""Class probabilities from the log-probabilities of an answer's tokens.

The answer is JSON, ``{"stance": "bearish"}``, split into arbitrary tokens: ``bear|ish``, ``"bear``, ``b|ull``. The
relevant token is the one at which the classes diverge: each alternative that can be continued to only one class adds
its probability to that class. The three sums are then normalised. A model that was trained to answer with the class
alone is asked for one token, which decides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bizcharts_pipeline.labels.stances import STANCES, Stance

MIN_COVERED = 0.5  # minimum share of the probability on the three classes
MOST_COVERED = 1.01  # more are no probabilities
LEAST = 1e-9  # probability of a class that an answer does not name at all
_ROUNDING = 1e-3  # by which a log-probability may exceed 0
MAX_AMBIGUOUS = 0.01  # maximum share of it on alternatives that fit two classes


@dataclass(frozen=True)
class Token:
    """A token of the answer; ``alternatives`` are the texts and log-probabilities of the other candidates at its
    position."""

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


def probabilities(content: str, label: Stance, tokens: Sequence[Token]) -> tuple[float, float, float] | None:
    """Return the probabilities of bearish, neutral, bullish from the tokens of a labelling model's answer; ``None`` if
    they do not determine them.

    Args:
        content: the answer's text, the JSON that names ``label``.
        tokens: the tokens of ``content``.
    """
    start = content.rfind(f'"{label}"') + 1
    if not start or "".join(token.text for token in tokens) != content:
        return None
    mass = dict.fromkeys(STANCES, 0.0)
    ambiguous, reached, said, end = 0.0, 1.0, "", 0
    for token in tokens:
        begin, end = end, end + len(token.text)
        if end <= start:
            continue
        if not token.alternatives:
            return None
        lead = token.text[: max(0, start - begin)]
        for text, logprob in {**dict(token.alternatives), token.text: token.logprob}.items():
            if not text.startswith(lead):
                continue
            possible = _possible(said + text[len(lead) :])
            if len(possible) == 1:
                mass[possible[0]] += reached * _share(logprob)
            elif possible and text != token.text:
                ambiguous += reached * _share(logprob)
        said += token.text[len(lead) :]
        reached *= _share(token.logprob)
        if len(_possible(said)) == 1:
            return _normalised(mass, ambiguous)
    return None


def begins_several(token: Token) -> bool:
    """Return whether several classes begin with this token of a labelling model's answer, but not all."""
    return 1 < len(_possible(token.text)) < len(STANCES)


def first_token_probabilities(token: Token) -> tuple[float, float, float] | None:
    """Return the probabilities of bearish, neutral, bullish from the first token of a model's answer that is the class
    alone.

    ``None`` if they do not determine them: a value is no log-probability, all together exceed 1, or the classes have
    less than ``MIN_COVERED`` together. A class that is not among the alternatives gets what is left of the probability,
    at most that of the least likely alternative, and at least ``LEAST``.
    """
    logs = {**dict(token.alternatives), token.text: token.logprob}
    if not all(logprob <= _ROUNDING for logprob in logs.values()):  # NaN is refused too
        return None
    offered = {text: math.exp(logprob) for text, logprob in logs.items()}
    if sum(offered.values()) > 1 + _ROUNDING * len(offered):
        return None
    mass = dict.fromkeys(STANCES, 0.0)
    for text, share in offered.items():
        if len(possible := _possible(text)) == 1:
            mass[possible[0]] += share
    if sum(mass.values()) < MIN_COVERED:
        return None
    left = max(LEAST, min(min(offered.values()), 1 - sum(offered.values())))
    found = [mass[stance] or left for stance in STANCES]
    bearish, neutral, bullish = (share / sum(found) for share in found)
    return bearish, neutral, bullish


def _possible(text: str) -> list[Stance]:
    """Return the classes that start with ``text`` or that ``text`` starts with; all three if ``text`` is empty."""
    begun = text.lstrip().casefold()
    return [stance for stance in STANCES if stance.startswith(begun) or begun.startswith(stance)]


def _share(logprob: float) -> float:
    return math.exp(min(logprob, 0.0))


def _normalised(mass: dict[Stance, float], ambiguous: float) -> tuple[float, float, float] | None:
    total = sum(mass.values())
    if not (MIN_COVERED <= total <= MOST_COVERED and ambiguous <= MAX_AMBIGUOUS * total):
        return None
    bearish, neutral, bullish = (mass[stance] / total for stance in STANCES)
    return bearish, neutral, bullish
