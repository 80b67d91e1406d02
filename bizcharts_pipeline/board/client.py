"""Client and parser of the catalogue in 4chan's read-only JSON API.

Rules and fields: https://github.com/4chan/4chan-API. The parser also accepts deviations seen in captures of 2012 to
2020: missing names, pages counted from 0, flags of 0 or ``""``, an eleventh page.
"""

import html
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bizcharts_pipeline.board.spool import Poll
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.http.dates import http_date
from bizcharts_pipeline.http.errors import CatalogFormatError, SourceNotFound
from bizcharts_pipeline.http.fields import (
    HTML_MAX_CHARACTERS,
    NAME_MAX_CHARACTERS,
    SITE_OPENED,
    SUBJECT_MAX_CHARACTERS,
    bounded,
    clean,
    cut,
    json_kind,
    one_line,
)
from bizcharts_pipeline.http.session import PoliteSession, Response

# The board holds about 150 threads on ten or eleven pages, in a third of a megabyte. A much larger response is not a
# catalogue, and once parsed it would need 25 times its size in memory.
MAX_CATALOG_BYTES = 4 * 1024 * 1024
MAX_PAGES = 100
MAX_THREADS = 1_000
EXTRA_MAX_CHARACTERS = 10_000
EXTRA_MAX_LEVELS = 20  # nesting of arrays and objects

# Personal data of the poster: not needed for the index, so it is not stored.
PERSONAL_FIELDS = frozenset(
    {"name", "trip", "id", "email", "country", "country_name", "board_flag", "flag_name", "since4pass"}
    | {"tail_size", "tail_id"}
)
# Redundant: the local time with `time`, omitted posts with the counts; replies are not read.
REDUNDANT_FIELDS = frozenset({"now", "resto", "last_replies", "omitted_posts", "omitted_images"})
_OWN_FIELDS = frozenset(
    {"no", "time", "sub", "com", "replies", "images", "sticky", "closed", "capcode", "bumplimit", "imagelimit"}
    | {"tim", "ext", "md5", "filename", "w", "h", "fsize", "filedeleted", "spoiler"}
)
_NOT_EXTRA = PERSONAL_FIELDS | REDUNDANT_FIELDS | _OWN_FIELDS

_BIGINT_MAX = 2**63 - 1
_INTEGER_MAX = 2**31 - 1
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_TIM = re.compile(r"[0-9]{10,19}")  # 13 digits until about 2023, 16 since
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")
_MD5 = re.compile(r"[A-Za-z0-9+/]{22}==")
_TAG = re.compile(r"<[A-Za-z/!][^<>]*>")


@dataclass(frozen=True)
class Catalog:
    """The readable threads of one catalogue in order, and its problems, for messages."""

    threads: tuple[SourceThread, ...]
    problems: tuple[str, ...] = ()
    rejected: int = 0  # entries missing from `threads`; not every problem rejects its entry


class FourchanClient:
    """Polls one board's catalogue.

    Call ``poll_catalog``, write the poll to disk, then ``remember`` it: after a kill, the next run fetches the same
    content again instead of receiving "not modified".
    """

    def __init__(self, session: PoliteSession, api_url: str, image_url: str, board: str) -> None:
        self._session = session
        self.image_url = image_url
        self.board = board
        self.catalog_url = f"{api_url}/{board}/catalog.json"

    def poll_catalog(self, now: datetime) -> Poll:
        """Request the board's catalogue; one that has not changed since the one remembered is answered without a body
        (304).

        ``now`` becomes the poll's ``fetched_at``, plus the waiting time if that exceeded a second.

        Raises:
            SourceNotFound: there is no such board.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
        """
        began = time.monotonic()
        try:
            response = self._session.get(self.catalog_url, conditional=True, max_bytes=MAX_CATALOG_BYTES)
        except SourceNotFound as error:
            message = f"{self.catalog_url}: no board {self.board!r} there; check BIZCHARTS_BOARD"
            raise SourceNotFound(message) from error
        elapsed = time.monotonic() - began
        fetched_at = now + timedelta(seconds=elapsed) if elapsed > 1 else now
        served = response.headers.get("last-modified")
        served_at = http_date(response.headers.get("date", "")) or response.last_modified
        return Poll(
            fetched_at, response.status, response.last_modified, self.catalog_url, response.body, served, served_at
        )

    def remember(self, poll: Poll) -> None:
        """Let the next poll of the board request only content newer than ``poll``, which must be safe on disk."""
        headers = {"last-modified": poll.validator} if poll.validator else {}
        answer = Response(poll.url, poll.status, b"", poll.fetched_at, poll.last_modified, headers)
        self._session.remember(answer)

    def forget(self) -> None:
        """Let the next poll fetch the board's complete catalogue, because the last one was unusable."""
        self._session.forget(self.catalog_url)


def parse_catalog(body: bytes, *, board: str, image_url: str) -> Catalog:
    """Parse the board's ``catalog.json``; deterministic.

    A thread without a valid number and time is rejected; any other invalid field is left out, or the picture as a
    whole. All are named in ``problems``. Of two threads with the same number the first is kept. Texts are cut to the
    limits above.

    Raises:
        CatalogFormatError: the body is not a catalogue.
    """
    if len(body) > MAX_CATALOG_BYTES:
        raise CatalogFormatError(
            f"Too large for a catalogue: {len(body):,} bytes; at most {MAX_CATALOG_BYTES:,} are read"
        )
    problems: list[str] = []
    pages = _load(body, _decoded(body, problems))
    if not isinstance(pages, list):
        raise _not_a_catalog(body, f"the top level is {json_kind(pages)}, not an array of pages")
    _check_size(body, pages)
    threads: dict[int, SourceThread] = {}
    entries = 0
    for page_index, page in enumerate(pages, start=1):
        page_threads = page.get("threads") if isinstance(page, dict) else None
        if not isinstance(page_threads, list):
            problems.append(f"page {page_index} of the array: {json_kind(page)} without an array of threads")
            entries += 1
            continue
        number = _page_number(page, page_index, problems)
        for position, entry in enumerate(page_threads, start=1):
            entries += 1
            place = f"page {number}, thread {position} (no {_shown(entry)})"
            notes: list[str] = []
            try:
                thread = _thread(entry, f"{image_url}/{board}", number, position, notes)
                if thread.thread_id in threads:
                    raise _BadField("duplicate thread number")
                threads[thread.thread_id] = thread
            except _BadField as error:
                problems.append(f"{place}: {error}")
            problems.extend(f"{place}: {note}" for note in notes)
    if not threads:  # a board is never empty: as a catalogue, it would say that all threads have left
        what = f"none of its {entries:,} entries can be read; {'; '.join(problems[:2])}" if entries else "it is empty"
        raise _not_a_catalog(body, what)
    return Catalog(tuple(threads.values()), bounded(problems), entries - len(threads))


def _check_size(body: bytes, pages: list[Any]) -> None:
    """Refuse an implausibly large catalogue before it is processed."""
    listed = (page.get("threads") for page in pages if isinstance(page, dict))
    threads = sum(len(entries) for entries in listed if isinstance(entries, list))
    if len(pages) > MAX_PAGES or threads > MAX_THREADS:
        raise _not_a_catalog(
            body,
            f"{len(pages):,} pages with {threads:,} threads, more than {MAX_PAGES} and {MAX_THREADS:,} (limits)",
        )


class _BadField(Exception):
    """A field is invalid, or an entry is not a thread."""


_T = TypeVar("_T")


def _optional(notes: list[str], read: Callable[..., _T], *arguments: Any) -> _T | None:
    """Return the field read by ``read``; ``None``, with a note, if it is invalid."""
    try:
        return read(*arguments)
    except _BadField as error:
        notes.append(f"left out: {error}")
        return None


def _decoded(body: bytes, problems: list[str]) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"not UTF-8 at byte {error.start:,}: read with replacement characters")
        return body.decode("utf-8-sig", errors="replace")


def _load(body: bytes, text: str) -> Any:
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of thousands of digits: reject only its own thread
            return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 30 else math.inf)
    except json.JSONDecodeError as error:
        raise _not_a_catalog(body, f"not JSON: {error.msg} at character {error.pos:,}") from error
    except RecursionError as error:
        raise _not_a_catalog(body, "nested too deeply") from error


def _not_a_catalog(body: bytes, why: str) -> CatalogFormatError:
    if body.lstrip()[:1] == b"<":
        why = "an HTML page, as sent by bot checks and provider portals"
    return CatalogFormatError(
        f"This is not a catalogue: {why} ({len(body):,} bytes, beginning {body[:60]!r}). If it persists, the API "
        "has changed or a proxy in between responds; open the catalogue's URL in a browser"
    )


def _page_number(page: Mapping[str, Any], index: int, problems: list[str]) -> int:
    try:
        number = _integer(page, "page", 0, _INTEGER_MAX)
    except _BadField as error:
        problems.append(f"page {index} of the array: {error}")
        number = None
    return index if number is None else number


def _thread(entry: Any, picture_url: str, page: int, position: int, notes: list[str]) -> SourceThread:
    if not isinstance(entry, dict):
        raise _BadField(f"{json_kind(entry)}, not an object")
    number = _integer(entry, "no", 1, _BIGINT_MAX)
    seconds = _integer(entry, "time", 1, _BIGINT_MAX)
    if number is None or seconds is None:
        raise _BadField(f"{'no' if number is None else 'time'} is missing")
    if _integer(entry, "resto", 0, _BIGINT_MAX):
        raise _BadField("a reply, not an opening post")
    return SourceThread(
        thread_id=number,
        posted_at=_moment(seconds),
        source="live",
        subject=_subject(_optional(notes, _text, entry, "sub"), notes),
        op_html=cut(_optional(notes, _text, entry, "com"), HTML_MAX_CHARACTERS, "com", notes),
        reply_count=_optional(notes, _integer, entry, "replies", 0, _INTEGER_MAX),
        image_count=_optional(notes, _integer, entry, "images", 0, _INTEGER_MAX),
        page=page,
        position=position,
        file_deleted=_flag(entry, "filedeleted", notes),
        spoiler=_flag(entry, "spoiler", notes),
        sticky=_flag(entry, "sticky", notes),
        closed=_flag(entry, "closed", notes),
        capcode=cut(_optional(notes, _text, entry, "capcode"), NAME_MAX_CHARACTERS, "capcode", notes),
        bump_limit_reached=_flag(entry, "bumplimit", notes),
        image_limit_reached=_flag(entry, "imagelimit", notes),
        extra=_extra(entry, notes),
        **_picture(entry, picture_url, notes),
    )


def _picture(entry: Mapping[str, Any], picture_url: str, notes: list[str]) -> dict[str, Any]:
    """Return the picture's fields; empty, with a note, if any of them is invalid."""
    try:
        tim = _integer(entry, "tim", 0, _BIGINT_MAX)
        extension = _text(entry, "ext")
        if tim is None and extension is None:
            return {}
        md5 = _text(entry, "md5")
        if not _TIM.fullmatch(str(tim)) or not _EXTENSION.fullmatch(extension or ""):
            raise _BadField(f"invalid file name: tim {tim} and ext {(extension or '')[:20]!r}")
        if md5 is not None and not _MD5.fullmatch(md5):
            raise _BadField(f"md5 is {md5[:40]!r}")
        return {
            "image_url": f"{picture_url}/{tim}{extension}",
            "thumbnail_url": f"{picture_url}/{tim}s.jpg",
            "image_md5": md5,
            "image_filename": cut(_text(entry, "filename"), NAME_MAX_CHARACTERS, "filename", notes),
            "image_width": _integer(entry, "w", 0, _INTEGER_MAX),
            "image_height": _integer(entry, "h", 0, _INTEGER_MAX),
            "image_bytes": _integer(entry, "fsize", 0, _BIGINT_MAX),
        }
    except _BadField as error:
        notes.append(f"picture left out: {error}")
        return {}


def _extra(entry: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the remaining fields, fit for a JSON column."""
    extra = {}
    for key, value in entry.items():
        if key in _NOT_EXTRA:
            continue
        try:
            extra[clean(key)] = _clean_json(value, EXTRA_MAX_LEVELS)
        except _BadField as error:
            notes.append(f"left out: {key[:40]!a} {error}")
    if len(json.dumps(extra)) > EXTRA_MAX_CHARACTERS:
        notes.append(f"{len(extra)} unknown fields left out: over {EXTRA_MAX_CHARACTERS:,} characters")
        return {}
    return extra


def _clean_json(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | dict) and levels == 0:
        raise _BadField(f"is nested more than {EXTRA_MAX_LEVELS} levels deep")
    if isinstance(value, list):
        return [_clean_json(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {clean(key): _clean_json(item, levels - 1) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise _BadField(f"has {value}, which is not valid JSON")
    return value


def _integer(entry: Mapping[str, Any], key: str, least: int, most: int) -> int | None:
    value = entry.get(key)
    if type(value) is int and least <= value <= most:
        return value
    if value is None or value == "":
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _BadField(f"{key} is {json_kind(value)}, not a whole number")
    if not least <= value <= most:
        raise _BadField(f"{key} is out of range: {value if abs(value) < 10**30 else 'huge'}")
    return value


def _flag(entry: Mapping[str, Any], key: str, notes: list[str]) -> bool:
    value = entry.get(key)
    return value if isinstance(value, bool) else _optional(notes, _integer, entry, key, 0, _INTEGER_MAX) == 1


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _BadField(f"{key} is {json_kind(value)}, not a text")
    return clean(value) or None


def _subject(served: str | None, notes: list[str]) -> str | None:
    """Return the plain text of a subject: one line without markup."""
    if served is None:
        return None
    shown = html.unescape(_TAG.sub("", cut(served, 10 * SUBJECT_MAX_CHARACTERS, "sub", notes) or ""))
    return cut(one_line(shown), SUBJECT_MAX_CHARACTERS, "sub", notes) or None


def _moment(seconds: int) -> datetime:
    try:
        moment = from_epoch(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise _BadField(f"timestamp {seconds} is out of range") from error
    if moment < SITE_OPENED:
        raise _BadField(f"time {seconds} is before {SITE_OPENED:%Y-%m-%d}, when 4chan did not exist")
    return moment


def _shown(entry: Any) -> str:
    number = entry.get("no") if isinstance(entry, dict) else None
    return str(number) if isinstance(number, int) and abs(number) < 10**30 else "?"
