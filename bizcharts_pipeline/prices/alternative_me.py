"""alternative.me's daily Crypto Fear & Greed Index (https://alternative.me/crypto/fear-and-greed-index/).

Its terms require the source to be named with every display of the data, so it is stored with each row.
"""

import json
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import one_line
from bizcharts_pipeline.http.session import PoliteSession
from bizcharts_pipeline.prices.quote import PriceFormatError, read_json

NAME = "alternative.me"
EVERYTHING = 0
LABEL_MAX_CHARACTERS = 40
FIRST_DAY = date(2009, 1, 3)  # of Bitcoin
_DIGITS = re.compile(r"[0-9]{1,12}")


class ReferenceFormatError(SourceError):
    """A response that cannot be parsed as the index."""


@dataclass(frozen=True)
class ReferenceReading:
    """One UTC day of an external index: ``value`` from 0 (fear) to 100 (greed)."""

    day: date
    value: int
    label: str | None
    source: str
    fetched_at: datetime


@dataclass(frozen=True)
class ReferenceAnswer:
    """The readings by day, oldest first, and a message for each unreadable entry."""

    readings: tuple[ReferenceReading, ...]
    problems: tuple[str, ...] = ()


def fetch_reference_index(session: PoliteSession, url: str, days: int, now: datetime) -> ReferenceAnswer:
    """Fetch the newest ``days`` days of alternative.me's reference index, or ``EVERYTHING``.

    Raises:
        SourceError: the response is missing or cannot be parsed.
    """
    return parse_reference_index(session.get(f"{url}/fng/?limit={days}&format=json").body, now)


def parse_reference_index(body: bytes, fetched_at: datetime) -> ReferenceAnswer:
    """Parse alternative.me's reference index, ``{"data": [{"value": "40", "value_classification": "Fear", "timestamp":
    "1551157200"}, …]}``.

    Raises:
        ReferenceFormatError: the body does not have this format.
    """
    try:
        entries = read_json(body, NAME, dict).get("data")
    except PriceFormatError as error:
        raise ReferenceFormatError(str(error)) from None
    if not isinstance(entries, list):
        raise ReferenceFormatError(f"{NAME}: the response has no list of data; has the API changed?")
    readings: dict[date, ReferenceReading] = {}
    problems: list[str] = []
    tomorrow = (fetched_at + timedelta(days=1)).date()
    for entry in entries:
        reading = _reading(entry, fetched_at)
        if reading is None:
            problems.append(f"{NAME}: an entry without a readable value and time: {json.dumps(entry, default=str):.60}")
        elif reading.day < FIRST_DAY:
            problems.append(f"{NAME}: its reading of {reading.day} is from before Bitcoin began")
        elif reading.day > tomorrow:
            problems.append(f"{NAME}: its reading of {reading.day} is in the future; check this machine's clock")
        else:
            readings.setdefault(reading.day, reading)
    if entries and not readings:
        raise ReferenceFormatError(f"{NAME}: none of {len(entries):,} entries can be read: {problems[0]}")
    return ReferenceAnswer(tuple(readings[day] for day in sorted(readings)), tuple(problems))


def _reading(entry: Any, fetched_at: datetime) -> ReferenceReading | None:
    if not isinstance(entry, dict):
        return None
    value, seconds = _integer(entry.get("value")), _integer(entry.get("timestamp"))
    if value is None or seconds is None or not 0 <= value <= 100:
        return None
    label = entry.get("value_classification")
    try:
        day = from_epoch(seconds).date()
    except (ValueError, OverflowError, OSError):
        return None
    said = one_line(label)[:LABEL_MAX_CHARACTERS] if isinstance(label, str) else ""
    return ReferenceReading(day, value, said or None, NAME, fetched_at)


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return int(str(value)) if _DIGITS.fullmatch(str(value)) else None
