"""The parameters of the API's requests, checked; a bad, a misspelt or a repeated one is refused by name.

An unknown name is refused too: who writes ``asof`` must not get the present state for an answer.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from bizcharts_pipeline.api.errors import BadParameter
from bizcharts_pipeline.core.clock import utc_moment

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_ROWS, DEFAULT_ROWS = 10_000, 1_000
MAX_TIME_CHARACTERS = 40
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2200, 1, 1)
MONDAY = datetime(1970, 1, 5)
TIMEFRAMES = {
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": timedelta(hours=4),
    "6h": timedelta(hours=6),
    "8h": timedelta(hours=8),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}


def _moment(text: object) -> datetime:
    if not isinstance(text, str) or len(text) > MAX_TIME_CHARACTERS:
        raise ValueError("it is no ISO 8601 time")
    try:
        moment = utc_moment(text)
    except ValueError:
        raise ValueError("it is no ISO 8601 time such as 2026-03-02T14:00:00Z; write UTC as Z, not as +00:00") from None
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"it is not between {EARLIEST:%Y} and {LATEST:%Y}")
    return moment


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40})
]
Rows = Annotated[int, Field(ge=1, le=MAX_ROWS, description="most rows; `next` in the answer leads to further ones")]


class AsOf(BaseModel):
    """The parameter that every request accepts."""

    model_config = ConfigDict(extra="forbid")

    as_of: Moment | None = Field(
        None, description="answer with what was computed and knowable at this moment (ISO 8601, UTC)"
    )


class BucketQuery(AsOf):
    """The length of buckets."""

    bucket: Literal["hour", "day"] = Field("day", description="length of the buckets")


class RecentQuery(AsOf):
    """The last days up to ``as_of`` or to the newest reading."""

    days: int = Field(7, ge=1, le=30, description="how many days back")


class SeriesQuery(AsOf):
    """A stretch of time. Without ``from``: the newest rows before ``to``."""

    bucket: Literal["hour", "day"] = Field("hour", description="length of the buckets")
    start: Moment | None = Field(None, alias="from", description="first begin of a bucket; without it the newest rows")
    end: Moment | None = Field(None, alias="to", description="end of the stretch, not included")
    limit: Rows = DEFAULT_ROWS


class CandleQuery(AsOf):
    """Candles of a stretch of time. Without ``from``: the newest before ``to``."""

    timeframe: Literal["5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "1w"] = Field(
        "1h", description="length of the candles; weeks begin on Monday"
    )
    start: Moment | None = Field(None, alias="from", description="first open; without it the newest candles")
    end: Moment | None = Field(None, alias="to", description="end of the stretch, not included")
    limit: Rows = DEFAULT_ROWS


def check_once(request: "Request") -> None:
    """Refuse a parameter of a request to the API that came twice.

    Raises:
        BadParameter: names it.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise BadParameter(name, "It was given more than once.")


def check_past(query: AsOf, now: datetime) -> None:
    """Refuse an ``as_of`` of a request to the API after ``now`` (naive UTC): the answer could still change.

    Raises:
        BadParameter: ``as_of`` is after ``now``.
    """
    if query.as_of is not None and query.as_of > now:
        raise BadParameter("as_of", f"It is in the future; this server's clock says {now:%Y-%m-%dT%H:%M:%S}Z.")


def check_stretch(query: SeriesQuery | CandleQuery) -> None:
    """Refuse a stretch of a request to the API that ends before it begins.

    Raises:
        BadParameter: the end is before the begin.
    """
    if query.start is not None and query.end is not None and query.start > query.end:
        raise BadParameter("to", "It is before `from`.")


def said(name: str, error: dict[str, Any]) -> str:
    """Return what is wrong with parameter ``name`` of a request to the API as a sentence; ``error`` is one of
    pydantic's."""
    if error["type"] == "extra_forbidden":
        return "There is no such parameter here."
    reason = str(error.get("ctx", {}).get("error") or error["msg"])
    return f"{reason[:1].upper()}{reason[1:]}."


def opens(query: CandleQuery, now: datetime) -> tuple[datetime, datetime, datetime | None]:
    """Return the first and the last open to answer to a request to the API for candles, and the ``from`` of the next
    page, if there is one.

    Opens after ``as_of`` or ``now`` are left out. If none is left, the last open is before the first.
    """
    step = TIMEFRAMES[query.timeframe]
    last = MONDAY + (min(query.as_of or now, now) - MONDAY) // step * step
    if query.end is not None:
        last = min(last, _at_or_after(query.end, step) - step)
    if query.start is None:
        return max(last - (query.limit - 1) * step, _at_or_after(EARLIEST, step)), last, None
    first = _at_or_after(query.start, step)
    following = first + query.limit * step
    return (first, following - step, following) if following <= last else (first, last, None)


def _at_or_after(moment: datetime, step: timedelta) -> datetime:
    """The first open at or after ``moment``. Opens count from a Monday, which suits days and hours too."""
    return MONDAY - (MONDAY - moment) // step * step
