"""Converts the simulated board to the API's format, as in ``catalog.json``."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

from bizcharts_pipeline.core.clock import from_epoch, to_epoch
from bizcharts_pipeline.demo import phrases
from bizcharts_pipeline.demo.board.threads import WorldThread, post_number

BUMP_LIMIT = 310
IMAGE_LIMIT = 150
_LAST_REPLIES = 5
_THUMBNAIL_SIDE = 250
_LOCAL_TIME = timedelta(hours=-5)  # The API's `now` is New York's wall time; daylight saving is ignored here
_ANONYMOUS = "Anonymous"


def thread_entry(thread: WorldThread, replies: int, at: float, start: datetime) -> dict[str, Any]:
    """Return the object in the simulated board's catalogue of ``thread`` with ``replies`` replies at Unix second
    ``at``."""
    images = thread.images_among(replies)
    entry = _post(thread.thread_id, to_epoch(thread.posted_at))
    if thread.thread_id % 14 == 0:
        entry["trip"] = f"!{_letters(thread.thread_id, 2_654_435_761)[:10]}"
        if thread.thread_id % 28 == 0:
            del entry["name"]
    if thread.subject is not None:
        entry["sub"] = thread.subject
    if thread.html:
        entry["com"] = thread.html
    entry |= _file(thread, at)
    entry |= {
        "resto": 0,
        "bumplimit": int(replies >= BUMP_LIMIT),
        "imagelimit": int(images >= IMAGE_LIMIT),
        "semantic_url": _slug(thread),
        "replies": replies,
        "images": images,
    }
    shown = _last_replies(thread, replies, start)
    if replies > len(shown):
        entry["omitted_posts"] = replies - len(shown)
        entry["omitted_images"] = max(0, images - sum("tim" in reply for reply in shown))
    entry["last_modified"] = int(thread.reply_time(replies)) if replies else entry["time"]
    if shown:
        entry["last_replies"] = shown
    return entry


def sticky_entry(sticky: WorldThread) -> dict[str, Any]:
    """Return the object of the simulated board's sticky: closed, by a moderator, without limits."""
    entry = thread_entry(sticky, 0, to_epoch(sticky.posted_at), sticky.posted_at)
    del entry["bumplimit"], entry["imagelimit"]
    return {"no": entry.pop("no"), "sticky": 1, "closed": 1, **entry, "capcode": "mod"}


def file_md5(thread: WorldThread) -> str:
    """Return the MD5 stated by the simulated board's API. It is made up, as a picture is drawn only on request."""
    return base64.b64encode(hashlib.md5(str(thread.tim).encode(), usedforsecurity=False).digest()).decode()


def file_name(thread: WorldThread) -> str:
    """Return the simulated poster's file name."""
    word = phrases.WORDS_FOR_FILES[thread.tim % len(phrases.WORDS_FOR_FILES)]
    return f"{word}_{thread.tim // 1000 % 10_000}"


def _post(number: int, epoch: float) -> dict[str, Any]:
    local = from_epoch(epoch) + _LOCAL_TIME
    return {
        "no": number,
        "now": f"{local:%m/%d/%y(%a)%H:%M:%S}",
        "name": _ANONYMOUS,
        "time": int(epoch),
        "id": _letters(number, 40_503_000_017)[:8],
    }


def _file(thread: WorldThread, at: float) -> dict[str, Any]:
    if thread.file_deleted_at is not None and to_epoch(thread.file_deleted_at) <= at:
        return {"filedeleted": 1}
    scale = _THUMBNAIL_SIDE / max(thread.width, thread.height)
    entry: dict[str, Any] = {
        "filename": file_name(thread),
        "ext": thread.extension,
        "w": thread.width,
        "h": thread.height,
        "tn_w": int(thread.width * scale),
        "tn_h": int(thread.height * scale),
        "tim": thread.tim,
        "md5": file_md5(thread),
        "fsize": 20_000 + thread.tim % 400_000,
    }
    return entry | ({"spoiler": 1} if thread.spoiler else {})


def _last_replies(thread: WorldThread, replies: int, start: datetime) -> list[dict[str, Any]]:
    shown = []
    for count in range(max(1, replies - _LAST_REPLIES + 1), replies + 1):
        epoch = thread.reply_time(count)
        reply = _post(post_number(epoch, start) + 1, epoch)
        text = phrases.REPLIES[(thread.thread_id // 2 * 7 + count * 13) % len(phrases.REPLIES)]
        quote = f'<a href="#p{thread.thread_id}" class="quotelink">&gt;&gt;{thread.thread_id}</a><br>'
        reply["com"] = quote + text if count % 3 == 0 else text
        reply["resto"] = thread.thread_id
        shown.append(reply)
    return shown


def _letters(number: int, factor: int) -> str:
    return f"{number * factor % 2**48:012x}"


def _slug(thread: WorldThread) -> str:
    text = thread.subject_text or re.sub(r"<[^>]*>|&[#\w]+;", " ", thread.html)
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:50].strip("-")
