"""The one clock. Every time in BizCharts is UTC and, as DuckDB's ``TIMESTAMP``, carries no zone."""

import os
from datetime import UTC, date, datetime, time, timedelta

from bizcharts_pipeline.core.errors import BizchartsError

DAY = timedelta(days=1)
MAX_DISAGREEMENT = DAY  # between this machine's clock and what is known without asking a source
MAX_SKEW = timedelta(hours=1)  # between this machine's clock and a source's; a cache may answer with an older time


class ClockDisagrees(BizchartsError):
    """This machine's clock is not to be trusted, or nobody could be asked whether it is; nothing was written."""


def check_against(now: datetime, told: datetime, witness: str) -> None:
    """Return if the clock, which says ``now``, agrees with the time that a ``witness`` has told; both naive UTC.

    Raises:
        ClockDisagrees: they are more than :data:`MAX_SKEW` apart.
    """
    if abs(now - told) > MAX_SKEW:
        raise ClockDisagrees(
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, {witness} says {told:%Y-%m-%d %H:%M}. Nothing was "
            "written or deleted; set the clock (`timedatectl`), then it goes on by itself."
        )


def utc_now() -> datetime:
    """Return the present as a naive UTC ``datetime``.

    ``BIZCHARTS_NOW`` (ISO 8601, UTC) replaces it: the demo and the tests fast-forward simulated days with it.

    Raises:
        BizchartsError: it is no such time.
    """
    if pretended := os.environ.get("BIZCHARTS_NOW"):
        try:
            return utc_moment(pretended)
        except ValueError:
            raise BizchartsError(f"BIZCHARTS_NOW is no ISO 8601 time: {pretended!r:.60}") from None
    return datetime.now(UTC).replace(tzinfo=None)


def utc_moment(text: str) -> datetime:
    """Return the naive UTC time that ``text`` (ISO 8601) means; without a zone it is taken to be UTC.

    Raises:
        ValueError: it is no such time.
    """
    try:
        return naive_utc(datetime.fromisoformat(text))
    except OverflowError:  # in another zone the calendar has it, in UTC it has not
        raise ValueError(f"{text!r:.60} is no moment of the calendar") from None


def naive_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC without its zone; a moment without a zone is taken to be UTC already."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def from_epoch(seconds: float) -> datetime:
    """Return the naive UTC ``datetime`` of Unix ``seconds``; ``ValueError`` or ``OverflowError`` off the calendar."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def to_epoch(moment: datetime) -> float:
    """Return the Unix seconds of a naive UTC ``moment``."""
    return moment.replace(tzinfo=UTC).timestamp()


def midnight(day: date) -> datetime:
    """Return the beginning of a UTC ``day``."""
    return datetime.combine(day, time())
