"""The clock. Every time in BizCharts is UTC and, like DuckDB's ``TIMESTAMP``, has no time zone."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic

from bizcharts_pipeline.core.errors import BizchartsError

DAY = timedelta(days=1)
PLAUSIBLE_YEARS = range(2003, 2200)  # of a simulated clock; the board was opened in 2003
MAX_DISAGREEMENT = DAY  # between this machine's clock and the times already stored here
SLACK = timedelta(minutes=10)  # rows less far in the future are no sign of a wrong clock
MAX_SKEW = timedelta(hours=1)  # between this machine's clock and a source's; a cache may answer with an older time


class ClockDisagrees(BizchartsError):
    """This machine's clock is wrong, or its time could not be verified; nothing was written."""


def check_against(now: datetime, told: datetime, witness: str) -> None:
    """Compare this machine's time ``now`` with the time ``told`` by ``witness``; both naive UTC.

    Raises:
        ClockDisagrees: they are more than :data:`MAX_SKEW` apart.
    """
    if abs(now - told) > MAX_SKEW:
        raise ClockDisagrees(
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, {witness} says {told:%Y-%m-%d %H:%M}. Nothing was "
            "written or deleted; set the clock (`timedatectl`), and it continues by itself."
        )


def utc_now() -> datetime:
    """Return the current time as a naive UTC ``datetime``.

    ``BIZCHARTS_NOW`` (ISO 8601, UTC) replaces it: the demo and the tests fast-forward simulated days with it.

    Raises:
        BizchartsError: ``BIZCHARTS_NOW`` is not an ISO 8601 time from 2003 to 2199.
    """
    if simulated := os.environ.get("BIZCHARTS_NOW"):
        try:
            moment = utc_moment(simulated)
        except ValueError:
            raise BizchartsError(f"BIZCHARTS_NOW is not an ISO 8601 time: {simulated!r:.60}") from None
        if moment.year not in PLAUSIBLE_YEARS:
            raise BizchartsError(f"BIZCHARTS_NOW is not an ISO 8601 time from 2003 to 2199: {simulated!r:.60}")
        return moment
    return datetime.now(UTC).replace(tzinfo=None)


def timer() -> Callable[[], timedelta]:
    """Return a function that returns how much time has passed since this call, even if the clock is set meanwhile. None
    passes while ``BIZCHARTS_NOW`` replaces the clock."""
    if os.environ.get("BIZCHARTS_NOW"):
        return lambda: timedelta()
    began = monotonic()
    return lambda: timedelta(seconds=monotonic() - began)


def utc_moment(text: str) -> datetime:
    """Return the naive UTC time that ``text`` (ISO 8601) means; without a zone it is taken to be UTC.

    Raises:
        ValueError: ``text`` is not an ISO 8601 time.
    """
    try:
        return naive_utc(datetime.fromisoformat(text))
    except OverflowError:  # in another zone the calendar has it, in UTC it has not
        raise ValueError(f"{text!r:.60} is no moment of the calendar") from None


def naive_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC without a time zone; a moment without a time zone is taken as UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def iso_utc(moment: datetime) -> str:
    """Return a naive UTC ``moment`` as ISO 8601 with a Z."""
    return f"{moment.isoformat()}Z"


def from_epoch(seconds: float) -> datetime:
    """Return the naive UTC ``datetime`` of Unix ``seconds``; raises ``ValueError`` or ``OverflowError`` if out of
    range.
    """
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def to_epoch(moment: datetime) -> float:
    """Return the Unix seconds of a naive UTC ``moment``."""
    return moment.replace(tzinfo=UTC).timestamp()


def midnight(day: date) -> datetime:
    """Return the first moment of a UTC ``day``."""
    return datetime.combine(day, time())
