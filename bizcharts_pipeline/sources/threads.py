"""An opening post as a source gives it, before the text is read."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Source = Literal["live", "warosu"]


@dataclass(frozen=True)
class SourceThread:
    """One opening post. Times are naive UTC; counts are as the source states them."""

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
