"""The API's ASGI application: GET and HEAD under ``/v1``. docs/api.md describes the answers."""

from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.api.displays import displays_router
from bizcharts_pipeline.api.errors import RETRY_SECONDS, BadParameter, UnknownCoin, error_response
from bizcharts_pipeline.api.guard import ApiGuard
from bizcharts_pipeline.api.operation import operation_router
from bizcharts_pipeline.api.parameters import said
from bizcharts_pipeline.api.rate_limit import RateLimit
from bizcharts_pipeline.api.recent import recent_router
from bizcharts_pipeline.api.schema import SCHEMA, ErrorAnswer
from bizcharts_pipeline.api.series import candles_router, series_router
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.service.login import Login
from bizcharts_pipeline.warehouse.errors import DatabaseBusy

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp

ABOUT = """The mood of 4chan's /biz/ board for programs. Each answer can be had as of a moment: `as_of` gives what had
been computed and was knowable then, as if everything later were deleted. A research tool, not financial advice."""


def api_app(source: Source, hosts: frozenset[str], requests_per_minute: int, login: Login | None = None) -> "ASGIApp":
    """Return the API as an application of its own, for requests that name one of ``hosts``.

    Args:
        hosts: names in lower case, without port, IPv6 addresses in brackets.
        login: each request needs its session or its password.
    """
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = Starlette(routes=[Mount("/v1", app=_endpoints(source))], exception_handlers=_error_handlers())
    app.router.redirect_slashes = False
    return ApiGuard(app, hosts, RateLimit(requests_per_minute), login)


def _endpoints(source: Source) -> "FastAPI":
    from fastapi import FastAPI

    wrong: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in ("4XX", 503)}
    app = FastAPI(
        title="BizCharts",
        version=str(SCHEMA),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=wrong,
        exception_handlers=_error_handlers(),
    )
    for router in (series_router, candles_router, recent_router, displays_router, operation_router):
        app.include_router(router(source))
    return app


def _error_handlers() -> dict[Any, Any]:
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    def malformed(request: Request, error: RequestValidationError) -> "Response":
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return error_response(400, said(name, first), name[:100])

    def bad(request: Request, error: BadParameter) -> "Response":
        return error_response(400, str(error), error.name[:100])

    def unknown(request: Request, error: UnknownCoin) -> "Response":
        return error_response(404, str(error), "symbol")

    def busy(request: Request, error: DatabaseBusy) -> "Response":
        return error_response(503, "The database is busy.", headers={"Retry-After": str(RETRY_SECONDS)})

    def broken(request: Request, error: BizchartsError) -> "Response":
        return error_response(503, "The database cannot be read; `bizcharts health` on the server says more.")

    def failed(request: Request, error: Exception) -> "Response":
        return error_response(500, "The server failed to answer; its log says why.")

    def refused(request: Request, error: HTTPException) -> "Response":
        message = "There is nothing at this path." if error.status_code == 404 else str(error.detail)
        return error_response(error.status_code, message)

    return {
        RequestValidationError: malformed,
        BadParameter: bad,
        UnknownCoin: unknown,
        DatabaseBusy: busy,
        BizchartsError: broken,
        HTTPException: refused,
        Exception: failed,
    }
