"""Protocol of the scorers, with their input and output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Post:
    """Input of a scorer: one opening post, or one part of it."""

    subject: str
    text: str  # plain text, greentext lines start with '>'


@dataclass(frozen=True)
class Score:
    """Calibrated stance probabilities; they sum to 1."""

    p_bearish: float
    p_neutral: float
    p_bullish: float

    @property
    def score(self) -> float:
        """Stance, -1 (bearish) to 1 (bullish): the difference of the two probabilities."""
        return self.p_bullish - self.p_bearish

    @property
    def confidence(self) -> float:
        """1 - entropy / ln 3: 0 for a uniform distribution, 1 for certainty."""
        entropy = -sum(p * math.log(p) for p in (self.p_bearish, self.p_neutral, self.p_bullish) if p > 0)
        return min(1.0, max(0.0, 1 - entropy / math.log(3)))


class Scorer(Protocol):
    """A model that scores stance. ``model_version`` changes whenever its scores may change."""

    kind: str
    model_version: str

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one score for each post, in order."""
        ...
