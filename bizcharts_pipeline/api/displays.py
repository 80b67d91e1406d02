"""The endpoints whose answer is shown as it is: badge, feed and the page for other sites."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from bizcharts_pipeline.api.answers import check
from bizcharts_pipeline.api.feed import LOOK_BACK, atom_feed
from bizcharts_pipeline.api.parameters import AsOf, BucketQuery
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.exports.badge import svg_badge
from bizcharts_pipeline.exports.pages import CONTENT_POLICY, PLOTTED_DAYS, Figures, embed_page
from bizcharts_pipeline.warehouse import as_of as published
from bizcharts_pipeline.warehouse.as_of import Revision

if TYPE_CHECKING:
    from fastapi import APIRouter

_EMBEDDED = {"Cross-Origin-Resource-Policy": "cross-origin"}


def displays_router(source: Source) -> "APIRouter":
    """Return the router of the API's badge, feed and embedded page."""
    from fastapi import APIRouter, Query
    from starlette.requests import Request
    from starlette.responses import Response

    router = APIRouter(default_response_class=Response)

    @router.get("/badge.svg", summary="Value and class of the newest hour as an image")
    def badge(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        check(source, request, query)

        def read(connection: Any) -> Any:
            return published.newest_reading(connection, "hour", query.as_of)

        def render(reading: Any, found: Revision) -> bytes:
            return svg_badge(reading).encode()

        return source.answer(request, query.as_of, "badge", read, render, "image/svg+xml", _EMBEDDED)

    @router.get("/embed", summary="A small page for other sites to show in a frame")
    def embed(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        check(source, request, query)

        def read(connection: Any) -> Figures:
            hour = published.newest_reading(connection, "hour", query.as_of)
            days = published.newest_readings(connection, "day", PLOTTED_DAYS, query.as_of)
            return Figures(hour, days, [], query.as_of)

        def render(figures: Figures, found: Revision) -> bytes:
            return embed_page(figures, source.parameters).encode()

        headers = {**_EMBEDDED, "Content-Security-Policy": CONTENT_POLICY}
        return source.answer(request, query.as_of, "embed", read, render, "text/html; charset=utf-8", headers)

    @router.get("/feed.atom", summary="Changes of the class as an Atom feed")
    def feed(request: Request, query: Annotated[BucketQuery, Query()]) -> Response:
        check(source, request, query)

        def read(connection: Any) -> Sequence[Any]:
            return published.newest_readings(connection, query.bucket, LOOK_BACK[query.bucket], query.as_of)[::-1]

        def render(readings: Sequence[Any], found: Revision) -> bytes:
            return atom_feed(readings, found, query.bucket, source.parameters)

        return source.answer(request, query.as_of, repr(query), read, render, "application/atom+xml; charset=utf-8")

    return router
