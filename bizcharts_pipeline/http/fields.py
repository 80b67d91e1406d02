"""Sanitizing and size limits for the text and number fields of all sources."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

SITE_OPENED = datetime(2003, 10, 1)  # no post is older
SUBJECT_MAX_CHARACTERS = 1_000
HTML_MAX_CHARACTERS = 100_000
NAME_MAX_CHARACTERS = 255  # file names, capcodes
MAX_PROBLEMS = 50
MAX_EXACT_FLOAT = 2.0**53  # from here on not every integer is a float
PROBLEM_MAX_CHARACTERS = 200

_MAX_DIGITS = 100
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_EXPONENT = re.compile(r"[+-]?\d+([.,]\d*)?[eE][+-]?\d+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")  # JSON can encode lone surrogates, which no database stores
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIRECTIONS = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # re-order the text around them


def clean(text: str) -> str:
    """Return ``text`` from a response or a file without control characters (except tab and line ends); lone surrogates
    become U+FFFD.
    """
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text))


def undirected(text: str) -> str:
    """Return ``text`` from a response or a file cleaned and without bidirectional control characters."""
    return _DIRECTIONS.sub("", clean(text))


def one_line(text: str) -> str:
    """Return ``text`` from a response as :func:`undirected` does, on one line, with single spaces."""
    return " ".join(undirected(text).split())


def cut(text: str | None, most: int, key: str, notes: list[str]) -> str | None:
    """Return the first ``most`` characters of ``text`` from a response; a cut is added to ``notes``."""
    if text is None or len(text) <= most:
        return text
    notes.append(f"{key} cut at {most:,} of {len(text):,} characters")
    return text[:most]


def bounded(problems: list[str]) -> tuple[str, ...]:
    """Return the first ``MAX_PROBLEMS`` problems of a source's response, each cut to ``PROBLEM_MAX_CHARACTERS``, and
    the number of the others.
    """
    kept = [problem[:PROBLEM_MAX_CHARACTERS] for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        kept.append(f"and {len(problems) - MAX_PROBLEMS} more")
    return tuple(kept)


_KINDS = {
    type(None): "null",
    bool: "a truth value",
    int: "a whole number",
    float: "a fraction",
    Decimal: "a fraction",
    str: "a text",
    list: "an array",
    dict: "an object",
}


def json_kind(value: Any) -> str:
    """Return the name of the JSON type that ``value`` of a source's response was parsed from, for messages."""
    return _KINDS[type(value)]


def whole_number(value: object) -> int:
    """Return the integer that a field from outside holds exactly: 7, '7', 7.0 or '7.0' (data frames write floats).

    Raises:
        ValueError: it is not an integer, or has an exponent (6.1E+07), as spreadsheets write rounded numbers.
    """
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT_FLOAT:
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text) and len(text) <= _MAX_DIGITS:
            return int(text.split(".")[0])
        if _EXPONENT.fullmatch(text):
            raise ValueError("was rounded by a spreadsheet: take the original number, and format its column as text")
    raise ValueError("is not a whole number")
