"""Search of the simulated archive: parses query strings and finds the matching posts."""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import numpy as np

from bizcharts_pipeline.demo.archive.posts import ArchivePost, Holdings, Integers

PAGE_SIZE = 24
MAX_MATCHES = 5000
_MAX_DIGITS = 18
TEXT_FIELDS = (
    "search_text",
    "search_subject",
    "search_username",
    "search_tripcode",
    "search_email",
    "search_filename",
    "search_media_hash",
)
_CHOICES = ("search_op", "search_del", "search_int", "search_ord", "search_capcode", "search_res")
_DATES = ("search_datefrom", "search_dateto")
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_TERM = re.compile(r'\||-?"[^"]*"|[^\s|"]+')
_WORD = re.compile(r"\w+")
_POST_FIELDS: dict[str, Callable[[ArchivePost], str]] = {
    "search_username": lambda post: post.name,
    "search_tripcode": lambda post: post.trip or "",
    "search_email": lambda post: post.mail or "",
    "search_filename": lambda post: post.file.name if post.file else "",
}

Alternatives = tuple[tuple[bool, str], ...]  # phrases, each with a flag whether it must be absent


@dataclass(frozen=True)
class Query:
    """A search. ``fields`` are the form's fields as given; ``offset`` is the first result of the page."""

    task: str
    fields: dict[str, str]
    offset: int

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """The part of a search of the simulated archive that all its pages share."""
        return tuple(sorted(self.fields.items()))

    @property
    def is_empty(self) -> bool:
        """Whether all text fields of a search of the simulated archive are empty."""
        return not any(self.fields.get(name, "").strip() for name in TEXT_FIELDS)

    def title(self) -> str:
        """Return the heading's text of a search of the simulated archive: all search terms."""
        asked = [self.fields.get("search_text", "")]
        for name in (*TEXT_FIELDS[1:], *_DATES):
            if value := self.fields.get(name):
                asked.append(f"{name.removeprefix('search_')}: {value}")
        if self.offset:
            asked.append(f"offset: {self.offset}")
        return "Search: " + ", ".join(asked)


def read_query(query: str) -> Query:
    """Parse the query string of a search of the simulated archive. The simple form (``task=search``) has only the text
    and the offset."""
    values = dict(parse_qsl(query, keep_blank_values=True))
    task = values.get("task", "")
    known = ("search_text",) if task == "search" else (*TEXT_FIELDS, *_DATES, *_CHOICES, "ghost")
    return Query(
        task,
        {name: values[name] for name in known if name in values},
        natural(values.get("offset", "")) or 0,
    )


def natural(text: str) -> int | None:
    """Return ``text`` of a request to the simulated archive as a number; ``None`` if it is not a number or too long
    for a post number."""
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def find(holdings: Holdings, query: Query, now: int, clock: ZoneInfo) -> Integers:
    """Return the positions of the posts in the simulated archive that match ``query`` at Unix second ``now``, in
    order, at most 5,000.

    Dates are exclusive bounds at midnight in the zone ``clock``, compared with the stored times: posts of the end date,
    and posts of exactly the first second of the start date, are not found. Malformed dates are ignored.
    """
    fields = query.fields
    found = holdings.openings_by_stored if fields.get("search_op") == "op" else holdings.by_stored
    stored = holdings.stored[found]
    begin, end = (_midnight(fields.get(name, ""), clock) for name in _DATES)
    first = 0 if begin is None else np.searchsorted(stored, begin, "right")
    last = len(found) if end is None else np.searchsorted(stored, end, "left")
    found = found[first:last]
    found = found[holdings.posted[found] <= now]
    for name, column in (("search_del", holdings.deleted), ("search_int", holdings.ghost > 0)):
        if fields.get(name) in ("yes", "no"):
            found = found[column[found] == (fields[name] == "yes")]
    if fields.get("search_ord") != "old":
        found = found[::-1]
    matches: Iterator[int] = iter(found.tolist())
    if tests := _tests(holdings, fields):
        matches = (position for position in matches if all(test(position) for test in tests))
    if fields.get("search_res") == "op":
        matches = _openings(holdings, matches)
    return np.fromiter(islice(matches, MAX_MATCHES), dtype=np.int64)


def _openings(holdings: Holdings, matches: Iterator[int]) -> Iterator[int]:
    """Yield the opening posts of the threads that have a match, each once."""
    seen: set[int] = set()
    for position in matches:
        place = int(holdings.thread[position])
        if place not in seen:
            seen.add(place)
            opening = holdings.position(holdings.threads[place].thread_id)
            if opening is not None:
                yield opening


def _tests(holdings: Holdings, fields: dict[str, str]) -> list[Callable[[int], bool]]:
    """Return the tests that a post at a position must pass, cheap tests first."""
    tests: list[Callable[[int], bool]] = []
    if subject := _expression(fields.get("search_subject", "")):
        tests.append(lambda position: _matches(subject, _subject(holdings, position)))
    if text := _expression(fields.get("search_text", "")):
        tests.append(lambda position: _matches(text, _words(holdings.comment(position))))
    for name, read in _POST_FIELDS.items():
        if wanted := _expression(fields.get(name, "")):
            tests.append(_post_test(holdings, wanted, read))
    if md5 := fields.get("search_media_hash", "").strip():
        tests.append(lambda position: _has_file(holdings.post(position), md5))
    capcode = fields.get("search_capcode", "all")
    if capcode in ("normal", "mod", "admin", "dev"):
        tests.append(lambda position: (holdings.post(position).capcode or "normal") == capcode)
    return tests


def _post_test(
    holdings: Holdings, wanted: tuple[Alternatives, ...], read: Callable[[ArchivePost], str]
) -> Callable[[int], bool]:
    return lambda position: _matches(wanted, _words(html.escape(read(holdings.post(position)))))


def _has_file(post: ArchivePost, md5: str) -> bool:
    """Return whether a post has a file with this hash, in the API's or the archive's encoding."""
    return post.file is not None and md5.rstrip("=") in (post.file.md5.rstrip("="), link_hash(post.file.md5))


def link_hash(md5: str) -> str:
    """Return a base64 MD5 in the encoding of the simulated archive's links."""
    return md5.rstrip("=").replace("+", "-").replace("/", "_")


def _subject(holdings: Holdings, position: int) -> str:
    return _words(holdings.threads[holdings.thread[position]].subject or "") if holdings.opening[position] else "  "


@lru_cache(maxsize=2**16)
def _words(text: str) -> str:
    """Return the lower-case words of a piece of HTML, separated and surrounded by blanks."""
    plain = html.unescape(re.sub(r"<[^>]*>", " ", text.replace("<wbr>", "")))
    return f" {' '.join(_WORD.findall(plain.lower()))} "


def _matches(expression: tuple[Alternatives, ...], words: str) -> bool:
    return all(any((phrase in words) != absent for absent, phrase in group) for group in expression)


@lru_cache(maxsize=256)
def _expression(text: str) -> tuple[Alternatives, ...]:
    """Parse ``a|b -c "d e"`` into groups; each group must match by one of its alternatives."""
    groups: list[list[tuple[bool, str]]] = []
    joined = False
    for term in _TERM.findall(text):
        if term == "|":
            joined = bool(groups)
            continue
        absent = term.startswith("-")
        words = _WORD.findall(term.lower())
        if not words:
            continue
        if not joined:
            groups.append([])
        groups[-1].append((absent, f" {' '.join(words)} "))
        joined = False
    return tuple(map(tuple, groups))


def _midnight(text: str, clock: ZoneInfo) -> float | None:
    """Return the Unix second of the day's midnight in the zone ``clock``; ``None`` if the date is malformed."""
    shape = _DATE.fullmatch(text.strip())
    if shape is None:
        return None
    try:
        day = date(int(shape[1]), int(shape[2]), int(shape[3]))
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=clock).timestamp()
