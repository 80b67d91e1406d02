"""The view's parameters in a link: the moment, the range, the hour and the coin. Links are untrusted input: each
parameter is parsed strictly, and an invalid one counts as not given."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

import streamlit as st

from bizcharts_pipeline.core.clock import from_epoch, utc_moment

AS_OF, RANGE, HOUR, COIN, SPAN, FROM, TO = "as_of", "range", "hour", "coin", "span", "from", "to"
LAST = "last"
EARLIEST = datetime(2009, 1, 3)  # before it there is no coin to speak of
LATEST = datetime(2100, 1, 1)
MAX_CHARACTERS = 40
_SYMBOL = re.compile(r"[A-Z0-9]{2,10}")

RANGES: dict[str, timedelta | None] = {
    "1 week": timedelta(days=7),
    "1 month": timedelta(days=30),
    "3 months": timedelta(days=91),
    "1 year": timedelta(days=365),
    "All": None,
}

LENGTHS = {"1 day": timedelta(days=1), "7 days": timedelta(days=7), "30 days": timedelta(days=30)}
DEFAULT_LENGTH = "7 days"


def read_moment(text: str | None) -> datetime | None:
    """Return an ISO 8601 time (UTC unless it names a zone) as naive UTC; ``None``: it is none, or of a wrong year."""
    if not text or len(text) > MAX_CHARACTERS:
        return None
    try:
        at = utc_moment(text.strip())
    except ValueError:
        return None
    return at if EARLIEST <= at <= LATEST else None


def read_hour(text: str | None) -> datetime | None:
    """Return the hour that a link names, as naive UTC."""
    at = read_moment(text)
    return at.replace(minute=0, second=0, microsecond=0) if at else None


def read_symbol(text: str | None) -> str | None:
    """Return the coin that a link names; ``None``: it names none."""
    symbol = (text or "").strip().upper()
    return symbol if _SYMBOL.fullmatch(symbol) else None


def hour_at(epoch: float) -> datetime:
    """Return the hour that holds a time in Unix seconds, as naive UTC."""
    return from_epoch(epoch).replace(minute=0, second=0, microsecond=0)


def bounds(range_name: str, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end, a full hour, of a range that ends with the hour of ``now`` (naive UTC)."""
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    length = RANGES[range_name]
    return (EARLIEST if length is None else end - length), end


def choose(label: str, options: Iterable[str], default: str, key: str, *, labelled: bool = False) -> str:
    """Show the choice of one of ``options``, kept in the link as ``key``; return the one that is chosen.

    The label is for who does not see the page, unless it is ``labelled``.
    """
    chosen = st.segmented_control(
        label,
        list(options),
        default=default,
        required=True,
        key=key,
        bind="query-params",
        label_visibility="visible" if labelled else "collapsed",
    )
    return chosen or default


def choose_range(default: str) -> str:
    """Show the choice of a range, kept in the link; return the range that is chosen."""
    return choose("Range", RANGES, default, RANGE)


def choose_days() -> timedelta:
    """Show the choice of how many days back to look, kept in the link; return the length that is chosen."""
    return LENGTHS[choose("Last", LENGTHS, DEFAULT_LENGTH, LAST)]


def keep_as_of() -> tuple[datetime | None, str]:
    """Return the moment of the link, or the one that an earlier page of this session was shown at, and what is wrong
    with it where it is no moment; the moment is put into the link again."""
    written = st.query_params.get(AS_OF)
    if written is None and (kept := st.session_state.get(AS_OF)):
        st.query_params[AS_OF] = written = kept
    at = read_moment(written)
    st.session_state[AS_OF] = at.isoformat() if at else None
    problem = "" if at or not written else "The moment in the link is no ISO 8601 time, so the present is shown."
    return at, problem


def forget_as_of() -> None:
    """Show the present from now on."""
    st.session_state[AS_OF] = None
    st.query_params.pop(AS_OF, None)
