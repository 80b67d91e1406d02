"""The rows that cross borders between rooms."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Source = Literal["live", "warosu"]


@dataclass(frozen=True)
class SourceThread:
    """One opening post as a source gives it. Times are naive UTC; counts are as the source states them."""

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
    extra: dict[str, Any] = field(default_factory=dict)  # fields without one of their own, as served


@dataclass(frozen=True)
class Mention:
    """One coin named by a post; a post counts a coin once, by its most certain mention."""

    coin_symbol: str
    confidence: float  # 0 to 1
    mention_source: str  # the rule that found it
    context: str  # the sentence or greentext line that holds it


@dataclass(frozen=True)
class PreparedThread:
    """An opening post with its text read: what the warehouse stores."""

    thread: SourceThread
    text: str  # plain text; greentext lines start with '>'
    general: str | None  # 'smg' for a thread of the stock-market general
    spam_score: float  # 0 to 1
    mentions: tuple[Mention, ...]


@dataclass(frozen=True)
class ScoredPost:
    """What one model version says of one post. ``method`` names the scorer that really answered."""

    thread_id: int
    p_bearish: float
    p_neutral: float
    p_bullish: float
    score: float
    confidence: float
    method: str


@dataclass(frozen=True)
class ScoredMention:
    """Stance of a post towards one of the several coins that it names."""

    thread_id: int
    coin_symbol: str
    score: float
    confidence: float
