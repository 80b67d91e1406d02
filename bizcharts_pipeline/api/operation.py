"""The endpoints for monitoring; no cache keeps their answers."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from bizcharts_pipeline.api.answers import JSON, check
from bizcharts_pipeline.api.metrics import MEDIA_TYPE, prometheus_text
from bizcharts_pipeline.api.parameters import AsOf
from bizcharts_pipeline.api.schema import HealthAnswer
from bizcharts_pipeline.api.source import Source, as_json
from bizcharts_pipeline.warehouse import as_of as published

if TYPE_CHECKING:
    from fastapi import APIRouter

STALE_AFTER = timedelta(hours=2)  # of a past moment only the final rows are left, one an hour


def operation_router(source: Source) -> "APIRouter":
    """Return the router of the API's endpoints for monitoring; their answers are not cached."""
    from fastapi import APIRouter, Query
    from starlette.requests import Request
    from starlette.responses import Response

    router = APIRouter(default_response_class=Response)
    uncached = {"Cache-Control": "no-store"}

    @router.get("/health", responses={200: {"model": HealthAnswer}}, summary="Whether the index is up to date")
    def health(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        """Status 503 with the same body where it is not."""
        check(source, request, query)
        with source.database().read() as connection:
            found = published.revision(connection, query.as_of).newest_computed_at
            hour = published.newest_reading(connection, "hour", query.as_of)
        age = None if found is None else (query.as_of or source.clock()) - found
        status = "empty" if age is None else "stale" if age > STALE_AFTER else "ok"
        body = {
            "status": status,
            "newest_computed_at": found,
            "newest_hour": hour and hour.bucket_start,
            "age_seconds": None if age is None else age.total_seconds(),
        }
        return Response(as_json(body), 200 if status == "ok" else 503, uncached, JSON)

    @router.get("/metrics", summary="The current numbers for Prometheus")
    def metrics(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        check(source, request, query)
        with source.database().read() as connection:
            found = published.revision(connection, query.as_of).newest_computed_at
            hour = published.newest_reading(connection, "hour", query.as_of)
            coins = published.coin_board(connection, "day", query.as_of)
        return Response(prometheus_text(hour, coins, found), 200, uncached, MEDIA_TYPE)

    return router
