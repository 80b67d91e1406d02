"""The view's parameters in a link: the moment, the range, the hour and the coin. Links are untrusted input: each
parameter is parsed strictly, and an invalid one counts as not given."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

import streamlit as st

from bizcharts_pipeline.core.clock import from_epoch, utc_moment, utc_now

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
    """Return the moment in a link of the app, an ISO 8601 time (UTC unless it names a zone), as naive UTC; ``None`` if
    it is not a time, or outside 2009 to 2099."""
    if not text or len(text) > MAX_CHARACTERS:
        return None
    try:
        at = utc_moment(text.strip())
    except ValueError:
        return None
    return at if EARLIEST <= at <= LATEST else None


def read_hour(text: str | None) -> datetime | None:
    """Return the hour that a link of the app names, as naive UTC."""
    at = read_moment(text)
    return at.replace(minute=0, second=0, microsecond=0) if at else None


def read_symbol(text: str | None) -> str | None:
    """Return the coin that a link of the app names; ``None`` if it names none."""
    symbol = (text or "").strip().upper()
    return symbol if _SYMBOL.fullmatch(symbol) else None


def hour_at(epoch: float) -> datetime:
    """Return the hour that was clicked in the app's chart, as naive UTC, from its time in Unix seconds."""
    return from_epoch(epoch).replace(minute=0, second=0, microsecond=0)


def bounds(range_name: str, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end, a full hour, of a range that the viewer of the app has chosen; it ends with the hour of
    ``now`` (naive UTC)."""
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    length = RANGES[range_name]
    return (EARLIEST if length is None else end - length), end


def choose(label: str, options: Iterable[str], default: str, key: str, *, labelled: bool = False) -> str:
    """Show on the app's page a choice of ``options``, kept in the link as ``key``; return the one that the viewer
    chose.

    The label is only for screen readers, unless it is ``labelled``.
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
    """Show on the app's page the choice of a range of time, kept in the link; return the one that the viewer chose."""
    return choose("Range", RANGES, default, RANGE)


def choose_days() -> timedelta:
    """Show on the app's page the choice of how many days back to look, kept in the link; return the length that the
    viewer chose."""
    return LENGTHS[choose("Last", LENGTHS, DEFAULT_LENGTH, LAST)]


def keep_as_of() -> tuple[datetime | None, str]:
    """Return the moment that the app's pages show, from the link or from an earlier page of this session, and what is
    wrong with the one in the link; put the moment into the link again."""
    written = st.query_params.get(AS_OF)
    if written is None and (kept := st.session_state.get(AS_OF)):
        st.query_params[AS_OF] = written = kept
    at, problem = read_moment(written), ""
    if written and at is None:
        problem = "The moment in the link is no ISO 8601 time since 2009, so the present is shown."
    elif at and at > utc_now():
        at, problem = None, "The moment in the link is in the future, so the present is shown."
    st.session_state[AS_OF] = at.isoformat() if at else None
    return at, problem


def forget_as_of() -> None:
    """Let the app's pages show the present from now on."""
    st.session_state[AS_OF] = None
    st.query_params.pop(AS_OF, None)
