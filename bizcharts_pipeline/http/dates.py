"""Dates and pauses in the headers of a response."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bizcharts_pipeline.core.clock import naive_utc

_LONGEST = 1e9  # seconds; a longer number means the same, and may be none that a float can hold


def http_date(text: str) -> datetime | None:
    """Return the naive UTC time of an HTTP date, ``None`` if it is invalid."""
    try:
        return naive_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after_seconds(retry_after: str | None, served_at: str | None) -> float | None:
    """Return the pause demanded by a Retry-After header (RFC 9110, 10.2.3), ``None`` if there is none or it is invalid.

    Args:
        served_at: the Date header: a time in ``retry_after`` is one of the server's own clock.
    """
    stated = (retry_after or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", stated, re.ASCII):
        return min(float(stated), _LONGEST)
    if (until := http_date(stated)) is None:
        return None
    served = http_date(served_at or "") or naive_utc(datetime.now(UTC))
    return max(0.0, (until - served).total_seconds())
