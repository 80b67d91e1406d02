"""The endpoints about the posts of the last days: generals, signs of shilling, copies."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from bizcharts_pipeline.api.answers import JSON, check, framed
from bizcharts_pipeline.api.parameters import RecentQuery
from bizcharts_pipeline.api.schema import CopiesAnswer, GeneralsAnswer, ShillingAnswer
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.index.copypasta import copy_groups
from bizcharts_pipeline.index.generals import generals
from bizcharts_pipeline.index.recent import RecentPosts, load_recent
from bizcharts_pipeline.index.shilling import coin_signs
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.as_of import Revision

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.responses import Response

MAX_GROUPS = 200

View = Callable[[RecentPosts], Sequence[Any]]


def recent_router(source: Source) -> "APIRouter":
    """Return the router of the API's views of the opening posts of the last days."""
    from fastapi import APIRouter, Query
    from starlette.requests import Request
    from starlette.responses import Response

    router = APIRouter(default_response_class=Response)
    probability = source.parameters.interval

    @router.get("/generals", responses={200: {"model": GeneralsAnswer}}, summary="The recurring threads and their mood")
    def all_generals(request: Request, query: Annotated[RecentQuery, Query()]) -> Response:
        return _answer(source, request, query, lambda recent: generals(recent, NON_CRYPTO_GENERALS, probability))

    @router.get("/shilling", responses={200: {"model": ShillingAnswer}}, summary="Signs that a coin is promoted by few")
    def shilling(request: Request, query: Annotated[RecentQuery, Query()]) -> Response:
        return _answer(source, request, query, lambda recent: coin_signs(recent, NON_CRYPTO_GENERALS, probability))

    @router.get("/copies", responses={200: {"model": CopiesAnswer}}, summary="Groups of posts that repeat one another")
    def copies(request: Request, query: Annotated[RecentQuery, Query()]) -> Response:
        return _answer(source, request, query, lambda recent: copy_groups(recent, NON_CRYPTO_GENERALS, MAX_GROUPS))

    return router


def _answer(source: Source, request: "Request", query: RecentQuery, view: View) -> "Response":
    check(source, request, query)

    def read(connection: Any) -> RecentPosts | None:
        return load_recent(connection, timedelta(days=query.days), source.parameters, query.as_of)

    def render(recent: RecentPosts | None, found: Revision) -> bytes:  # with the database closed again
        return framed(query, found, view(recent) if recent else (), None)

    return source.answer(request, query.as_of, repr(query), read, render, JSON)
