"""Row types that packages pass to each other."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Source = Literal["live", "warosu"]

FALLBACK = "(fallback for "  # in the ``method`` of a score by another model; the model's version and ")" follow


@dataclass(frozen=True)
class SourceThread:
    """One opening post from a source. Times are naive UTC; counts are the source's own."""

    thread_id: int
    posted_at: datetime
    source: Source
    subject: str | None = None  # plain text
    op_html: str | None = None
    reply_count: int | None = None
    image_count: int | None = None
    page: int | None = None
    position: int | None = None  # within the page, from 1
    image_url: str | None = None
    thumbnail_url: str | None = None
    image_md5: str | None = None
    image_filename: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    image_bytes: int | None = None
    file_deleted: bool = False
    spoiler: bool = False
    sticky: bool = False
    closed: bool = False
    capcode: str | None = None
    bump_limit_reached: bool = False
    image_limit_reached: bool = False
    extra: dict[str, Any] = field(default_factory=dict)  # the source's other fields, unchanged


@dataclass(frozen=True)
class Mention:
    """One coin named by a post; a post counts each coin once, by its mention of highest confidence."""

    coin_symbol: str
    confidence: float  # 0 to 1
    mention_source: str  # the rule that found it
    context: str  # the sentence or greentext line that holds it


@dataclass(frozen=True)
class PreparedThread:
    """An opening post with the features extracted from its text, as the warehouse stores it."""

    thread: SourceThread
    text: str  # plain text; greentext lines start with '>'
    general: str | None  # 'smg' for a thread of the stock-market general
    spam_score: float  # 0 to 1
    mentions: tuple[Mention, ...]


@dataclass(frozen=True)
class ScoredPost:
    """Prediction of one model version for one post. ``method`` names the scorer that produced it; ``waits_for`` is what
    must change before the post is scored again (``None``: final)."""

    thread_id: int
    p_bearish: float
    p_neutral: float
    p_bullish: float
    score: float
    confidence: float
    method: str
    waits_for: str | None = None

    @property
    def replaced(self) -> bool:
        """Whether another model has scored the post in place of this one."""
        return FALLBACK in self.method


@dataclass(frozen=True)
class ScoredMention:
    """Stance of a post towards one of the several coins that it names."""

    thread_id: int
    coin_symbol: str
    score: float
    confidence: float
