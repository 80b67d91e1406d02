"""Threads for the tests of this room."""

from datetime import datetime, timedelta
from typing import Any

from bizcharts_pipeline.core.rows import Mention, PreparedThread, SourceThread

NOON = datetime(2026, 3, 1, 12)


def minute(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def prepared(
    thread_id: int = 1,
    *,
    text: str | None = "gm",
    coins: tuple[str, ...] = (),
    spam: float = 0.0,
    **fields: Any,
) -> PreparedThread:
    """A thread whose HTML is its text in bold; ``fields`` are those of :class:`SourceThread`."""
    thread = SourceThread(
        **{
            "thread_id": thread_id,
            "posted_at": NOON,
            "source": "live",
            "op_html": None if text is None else f"<b>{text}</b>",
            "reply_count": 0,
            "image_count": 0,
        }
        | fields
    )
    mentions = tuple(Mention(coin, 0.9, "text", text or "") for coin in coins)
    return PreparedThread(thread, text or "", None, spam, mentions)
