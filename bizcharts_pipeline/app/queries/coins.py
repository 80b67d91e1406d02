"""The coins: the board of today, and one coin's past."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_index
from bizcharts_pipeline.warehouse.as_of import coin_board, coin_series, series_of_coins
from bizcharts_pipeline.warehouse.prices import hourly_prices
from bizcharts_pipeline.warehouse.published import Bucket, CoinReading

RECENT = timedelta(days=30)
MAX_COINS = 100
DAY = timedelta(days=1)


@dataclass(frozen=True)
class BoardRow:
    """A coin of the board. ``recent`` are its daily scores of the last 30 days, oldest first, days without one left
    out."""

    reading: CoinReading
    change: float | None  # of the score since the day before
    share: float  # of all mentions on the board
    recent: tuple[float, ...]


@dataclass(frozen=True)
class CoinPast:
    """A coin's buckets, ascending, and the newest price of each hour in USD."""

    readings: tuple[CoinReading, ...]
    prices: tuple[tuple[datetime, float], ...]


@once_per_index
def board(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> tuple[BoardRow, ...]:
    """Return the coins of the newest day for the app's page Coins, the most mentioned first; at most
    :data:`MAX_COINS`."""
    readings = coin_board(connection, "day", as_of)
    mentions = sum(each.mentions for each in readings)
    if not readings:
        return ()
    shown, today = readings[:MAX_COINS], readings[0].bucket_start
    symbols = [each.coin_symbol for each in shown]
    past = series_of_coins(connection, symbols, "day", today - RECENT, today + DAY, as_of)
    rows = []
    for reading in shown:
        scores = {each.bucket_start: each.score for each in past[reading.coin_symbol] if each.score is not None}
        yesterday = scores.get(today - DAY)
        change = reading.score - yesterday if reading.score is not None and yesterday is not None else None
        rows.append(BoardRow(reading, change, reading.mentions / mentions, tuple(scores.values())))
    return tuple(rows)


@once_per_index
def coin_past(
    connection: duckdb.DuckDBPyConnection,
    symbol: str,
    bucket: Bucket,
    start: datetime,
    end: datetime,
    as_of: datetime | None,
) -> CoinPast:
    """Return a coin's buckets that begin in ``[start, end)`` (naive UTC), and its prices, for the app's page Coin."""
    readings = coin_series(connection, symbol, bucket, start, end, as_of)
    prices = hourly_prices(connection, symbol, start - DAY, min(end, as_of or end))
    return CoinPast(tuple(readings), tuple(prices))
