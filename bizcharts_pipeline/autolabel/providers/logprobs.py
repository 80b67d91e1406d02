"""Probabilities of the three classes from the log-probabilities of an answer's tokens.

The answer is JSON, ``{"stance": "bearish"}``, in tokens that fall anyhow: ``bear|ish``, ``"bear``, ``b|ull``. What
counts is the token at which the classes part: every alternative there that can only become one class adds its
probability to it. The three sums are then normalised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bizcharts_pipeline.labels.stances import STANCES, Stance

MIN_COVERED = 0.5  # of the probability must lie on the classes, or the numbers say something else
MAX_AMBIGUOUS = 0.01  # of it may lie on alternatives that could become two classes


@dataclass(frozen=True)
class Token:
    """A token of the answer; ``alternatives`` are text and log-probability of what could have stood there."""

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


def probabilities(content: str, label: Stance, tokens: Sequence[Token]) -> tuple[float, float, float] | None:
    """Return the probabilities of bearish, neutral, bullish; ``None`` where the tokens do not tell.

    Args:
        content: the answer's text, the JSON that names ``label``.
        tokens: the tokens that it consists of.
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


def _possible(text: str) -> list[Stance]:
    """Return the classes that ``text`` begins, or that begin it: all three while nothing is said."""
    begun = text.lstrip().casefold()
    return [stance for stance in STANCES if stance.startswith(begun) or begun.startswith(stance)]


def _share(logprob: float) -> float:
    return math.exp(min(logprob, 0.0))


def _normalised(mass: dict[Stance, float], ambiguous: float) -> tuple[float, float, float] | None:
    total = sum(mass.values())
    if not (math.isfinite(total) and total >= MIN_COVERED and ambiguous <= MAX_AMBIGUOUS * total):
        return None
    bearish, neutral, bullish = (mass[stance] / total for stance in STANCES)
    return bearish, neutral, bullish
