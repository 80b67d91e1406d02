"""Protocol of the scorers, with their input and output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from bizcharts_pipeline.core.rows import FALLBACK
from bizcharts_pipeline.warehouse.image_features import ImageFeatures

BATCH = 5_000  # posts, of a scorer that runs here
PictureState = Literal["stored", "waiting", "late", "removed", "blocked"]
WaitsFor = Literal["picture", "features", "model", "endpoint", "budget"]


@dataclass(frozen=True)
class Picture:
    """The picture of a post, as far as it is known when the post is scored.

    ``state``: 'stored', the file exists; 'waiting', it has not been fetched yet; 'late', it should have been fetched
    long ago, and may never be; 'removed', it will not be fetched, or no longer exists; 'blocked', it is on the block
    list.
    """

    state: PictureState
    path: Path | None = None  # of a stored one, relative to the home
    sha256: str | None = None
    nsfw: float | None = None  # 0 to 1; None: not rated
    features: ImageFeatures | None = None  # of a removed one too, if they were computed while it was stored


@dataclass(frozen=True)
class Post:
    """Input of a scorer: one opening post, or one part of its text."""

    subject: str
    text: str  # plain text, greentext lines start with '>'
    thread_id: int | None = None  # None: a part of a post
    picture: Picture | None = None  # None: the post has none
    posted_at: datetime | None = None  # naive UTC


@dataclass(frozen=True)
class Score:
    """Calibrated stance probabilities; they sum to 1."""

    p_bearish: float
    p_neutral: float
    p_bullish: float
    method: str | None = None  # how it was found; None: by the scorer, from all that it reads of a post
    waits_for: WaitsFor | None = None  # what must change before the post is scored again; None: the score is final

    @property
    def score(self) -> float:
        """Stance, -1 (bearish) to 1 (bullish): the difference of the two probabilities."""
        return self.p_bullish - self.p_bearish

    @property
    def confidence(self) -> float:
        """Confidence of the stance, 1 - entropy / ln 3: 0 for a uniform distribution, 1 for certainty."""
        entropy = -sum(p * math.log(p) for p in (self.p_bearish, self.p_neutral, self.p_bullish) if p > 0)
        return min(1.0, max(0.0, 1 - entropy / math.log(3)))


class Scorer(Protocol):
    """A model that scores stance. ``model_version`` changes whenever its scores may change; ``kind`` is the ``method``
    of scores that name none."""

    kind: str
    model_version: str
    batch: int  # posts scored between two writes

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one sentiment score for each post, in order."""
        ...


def instead_of(
    model_version: str, other: Scorer, posts: Sequence[Post], waits_for: Sequence[WaitsFor | None]
) -> list[Score]:
    """Return the sentiment scores of ``other`` in place of ``model_version``; their ``method`` names both.
    ``waits_for``: for each post, what must change before ``model_version`` scores it itself.
    """
    return [
        replace(score, method=f"{score.method or other.kind} {FALLBACK}{model_version})", waits_for=until)
        for score, until in zip(other.score(posts), waits_for, strict=True)
    ]
