"""Shared by the endpoints: checks of a request, and the answer around rows."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bizcharts_pipeline.api.parameters import (
    AsOf,
    CandleQuery,
    SeriesQuery,
    check_once,
    check_past,
    check_stretch,
)
from bizcharts_pipeline.api.schema import SCHEMA
from bizcharts_pipeline.api.source import Source, as_json
from bizcharts_pipeline.core.clock import iso_utc
from bizcharts_pipeline.warehouse.as_of import Revision

if TYPE_CHECKING:
    from starlette.requests import Request

JSON = "application/json"


def check(source: Source, request: "Request", query: AsOf) -> None:
    """Refuse repeated parameters of a request to the API, a future ``as_of`` and a reversed stretch, which no single
    parameter shows.

    Raises:
        BadParameter: names it.
    """
    check_once(request)
    check_past(query, source.clock())
    if isinstance(query, SeriesQuery | CandleQuery):
        check_stretch(query)


def paged(request: "Request", query: SeriesQuery) -> Callable[[Sequence[Any], Revision], bytes]:
    """Render the rows of a stretch, of which one more than its limit were read: where that one exists, the answer leads
    to the next page, with later rows, or with earlier ones where no begin was asked for."""

    def render(rows: Sequence[Any], found: Revision) -> bytes:
        following = None
        if len(rows) > query.limit and query.start is None:
            rows = rows[1:]
            following = next_page(request, "to", rows[0].bucket_start)
        elif len(rows) > query.limit:
            rows = rows[:-1]
            following = next_page(request, "from", rows[-1].bucket_start + timedelta(microseconds=1))
        return framed(query, found, rows, following)

    return render


def next_page(request: "Request", name: str, moment: datetime) -> str:
    """Return the path of the page of the API's answer whose parameter ``name`` is ``moment`` (naive UTC)."""
    return f"{request.scope['path']}?{urlencode({**request.query_params, name: iso_utc(moment)})}"


def framed(query: AsOf, found: Revision, rows: Sequence[Any], following: str | None) -> bytes:
    """Return the API's answer of ``rows``; ``following`` is the path of the next page."""
    return as_json(
        {
            "version": SCHEMA,
            "as_of": query.as_of,
            "newest_computed_at": found.newest_computed_at,
            "next": following,
            "rows": rows,
        }
    )
