"""The endpoints that give rows: the index, the coins, the changes of the model, the candles."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from bizcharts_pipeline.api.answers import JSON, check, framed, next_page, paged
from bizcharts_pipeline.api.errors import UnknownCoin
from bizcharts_pipeline.api.parameters import LATEST, TIMEFRAMES, AsOf, BucketQuery, CandleQuery, SeriesQuery, opens
from bizcharts_pipeline.api.schema import CandlesAnswer, CoinsAnswer, IndexAnswer, SwitchesAnswer
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.warehouse import as_of as published
from bizcharts_pipeline.warehouse.as_of import Revision
from bizcharts_pipeline.warehouse.model_previews import model_switches

if TYPE_CHECKING:
    from fastapi import APIRouter


def series_router(source: Source) -> "APIRouter":
    """Return the router of the API's rows of the index and of coins, and of the changes of the model behind them."""
    from fastapi import APIRouter, Path, Query
    from starlette.requests import Request
    from starlette.responses import Response

    router = APIRouter(default_response_class=Response)

    @router.get("/index", responses={200: {"model": IndexAnswer}}, summary="The index by hour or day")
    def index(request: Request, query: Annotated[SeriesQuery, Query()]) -> Response:
        check(source, request, query)

        def read(connection: Any) -> Sequence[Any]:
            if query.start is None:
                return published.newest_readings(connection, query.bucket, query.limit + 1, query.as_of, query.end)[
                    ::-1
                ]
            stretch = (query.start, query.end or LATEST)
            return published.index_series(connection, query.bucket, *stretch, query.as_of, query.limit + 1)

        return source.answer(request, query.as_of, repr(query), read, paged(request, query), JSON)

    @router.get("/coins", responses={200: {"model": CoinsAnswer}}, summary="The coins of the newest hour or day")
    def coins(request: Request, query: Annotated[BucketQuery, Query()]) -> Response:
        check(source, request, query)

        def render(rows: Sequence[Any], found: Revision) -> bytes:
            return framed(query, found, rows, None)

        def read(connection: Any) -> Sequence[Any]:
            return published.coin_board(connection, query.bucket, query.as_of)

        return source.answer(request, query.as_of, repr(query), read, render, JSON)

    @router.get("/coins/{symbol}", responses={200: {"model": CoinsAnswer}}, summary="One coin by hour or day")
    def coin(
        request: Request,
        symbol: Annotated[str, Path(description="the coin's symbol, for example BTC")],
        query: Annotated[SeriesQuery, Query()],
    ) -> Response:
        check(source, request, query)

        def read(connection: Any) -> Sequence[Any]:
            if not published.knows_coin(connection, symbol, query.as_of):
                raise UnknownCoin("No post that counts has named a coin of this symbol; /v1/coins lists today's.")
            if query.start is None:
                newest = (query.limit + 1, query.as_of, query.end)
                return published.newest_coin_readings(connection, symbol, query.bucket, *newest)[::-1]
            stretch = (query.start, query.end or LATEST)
            return published.coin_series(connection, symbol, query.bucket, *stretch, query.as_of, query.limit + 1)

        return source.answer(request, query.as_of, repr(query), read, paged(request, query), JSON)

    @router.get("/switches", responses={200: {"model": SwitchesAnswer}}, summary="The changes of the scoring model")
    def switches(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        check(source, request, query)

        def render(rows: Sequence[Any], found: Revision) -> bytes:
            return framed(query, found, rows, None)

        def read(connection: Any) -> Sequence[Any]:
            return model_switches(connection, query.as_of)

        return source.answer(request, query.as_of, repr(query), read, render, JSON)

    return router


def candles_router(source: Source) -> "APIRouter":
    """Return the router of the API's candles."""
    from fastapi import APIRouter, Query
    from starlette.requests import Request
    from starlette.responses import Response

    router = APIRouter(default_response_class=Response)

    @router.get(
        "/candles", responses={200: {"model": CandlesAnswer}}, summary="What was knowable at the open of each candle"
    )
    def candles(request: Request, query: Annotated[CandleQuery, Query()]) -> Response:
        check(source, request, query)
        first, last, following = opens(query, source.clock())

        def read(connection: Any) -> tuple[Sequence[Any], datetime | None]:
            step = TIMEFRAMES[query.timeframe]
            rows = published.candles(connection, step, first, last, query.as_of)
            return rows, published.first_bucket(connection, "hour", query.as_of)

        def render(read_rows: tuple[Sequence[Any], datetime | None], found: Revision) -> bytes:
            rows, begin = read_rows
            page = next_page(request, "from", following) if following else None
            if query.start is None and begin is not None and begin < first:
                page = next_page(request, "to", first)
            return framed(query, found, rows, page)

        return source.answer(request, query.as_of, (repr(query), first, last), read, render, JSON)

    return router
