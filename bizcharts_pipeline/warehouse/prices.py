"""Tables ``coin_prices`` and ``reference_index``."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import duckdb

from bizcharts_pipeline.core.clock import midnight
from bizcharts_pipeline.warehouse.previews import Preview, preview
from bizcharts_pipeline.warehouse.values import literal, quoted, table

AT_ONE_TIME = timedelta(minutes=5)  # two sources' prices further apart in time are not compared

_PRICE = {"coin_symbol": "VARCHAR", "at": "TIMESTAMP", "usd": "DECIMAL(38, 12)", "source": "VARCHAR"}
_READING = {
    "day": "DATE",
    "value": "INTEGER",
    "label": "VARCHAR",
    "source": "VARCHAR",
    "fetched_at": "TIMESTAMP",
}

_MERGE_PRICES = """
MERGE INTO coin_prices AS t
USING (FROM {rows} WHERE usd > 0 QUALIFY row_number() OVER (PARTITION BY coin_symbol, "at", source) = 1) AS s
ON t.coin_symbol = s.coin_symbol AND t."at" = s."at" AND t.source = s.source
WHEN MATCHED AND t.usd <> s.usd THEN UPDATE SET usd = s.usd
WHEN NOT MATCHED THEN INSERT (coin_symbol, "at", usd, source) VALUES (s.coin_symbol, s."at", s.usd, s.source)
"""

# `fetched_at` stays that of the first fetch with this value.
_MERGE_READINGS = """
MERGE INTO reference_index AS t
USING (FROM {rows} QUALIFY row_number() OVER (PARTITION BY day, source) = 1) AS s
ON t.day = s.day AND t.source = s.source
WHEN MATCHED AND (t.value <> s.value OR t.label IS DISTINCT FROM s.label) THEN UPDATE SET
    value = s.value, label = s.label, fetched_at = s.fetched_at
WHEN NOT MATCHED THEN INSERT (day, value, label, source, fetched_at)
    VALUES (s.day, s.value, s.label, s.source, s.fetched_at)
"""

_NEWEST = """
SELECT coin_symbol AS coin, usd, source, strftime("at", '%Y-%m-%d %H:%M') AS "at" FROM coin_prices
WHERE "at" >= (SELECT max("at") FROM coin_prices) - INTERVAL 1 DAY
QUALIFY row_number() OVER (PARTITION BY coin_symbol ORDER BY "at" DESC, source) = 1
ORDER BY usd DESC, coin LIMIT {limit}
"""

# Each price has at most one counterpart of another source: the two are each other's nearest in time.
_DISAGREEMENTS = """
WITH pairs AS (
    SELECT a.coin_symbol, a.source AS a_source, a.usd AS a_usd, b.source AS b_source, b.usd AS b_usd, a."at",
           abs(a.usd - b.usd)::DOUBLE / least(a.usd, b.usd)::DOUBLE AS share
    FROM coin_prices AS a JOIN coin_prices AS b
        ON a.coin_symbol = b.coin_symbol AND a.source < b.source
        AND b."at" BETWEEN a."at" - INTERVAL {apart} SECOND AND a."at" + INTERVAL {apart} SECOND
    WHERE a."at" >= {since} AND b."at" >= {since}
    QUALIFY row_number() OVER (
            PARTITION BY a.coin_symbol, a.source, b.source, a."at" ORDER BY abs(epoch(a."at") - epoch(b."at")), b."at"
        ) = 1
        AND row_number() OVER (
            PARTITION BY a.coin_symbol, a.source, b.source, b."at" ORDER BY abs(epoch(a."at") - epoch(b."at")), a."at"
        ) = 1
), newest AS (
    FROM pairs QUALIFY row_number() OVER (PARTITION BY coin_symbol, a_source, b_source ORDER BY "at" DESC) = 1
)
SELECT coin_symbol, a_source, a_usd, b_source, b_usd, share, "at" FROM newest
WHERE share > {share} ORDER BY share DESC, coin_symbol
"""

_MISSING_CLOSES = """
SELECT day::DATE FROM generate_series({first}, {last}, INTERVAL 1 DAY) AS days (day)
WHERE NOT EXISTS (
    FROM coin_prices WHERE coin_symbol = {coin} AND "at" = day + INTERVAL 1 DAY AND list_contains({sources}, source)
)
ORDER BY day
"""

_READINGS = """
SELECT strftime(day, '%Y-%m-%d') AS day, value, label, source FROM reference_index
ORDER BY day DESC, source LIMIT {limit}
"""


class Price(Protocol):
    """A price to store; times are naive UTC."""

    @property
    def coin_symbol(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def usd(self) -> Decimal: ...
    @property
    def source(self) -> str: ...


class Reading(Protocol):
    """One day of a reference index to store."""

    @property
    def day(self) -> date: ...
    @property
    def value(self) -> int: ...
    @property
    def label(self) -> str | None: ...
    @property
    def source(self) -> str: ...
    @property
    def fetched_at(self) -> datetime: ...


class Disagreement(NamedTuple):
    """Two sources' prices of a coin at about the same time; ``share`` is the difference relative to the lower one."""

    coin_symbol: str
    one_source: str
    one_usd: Decimal
    other_source: str
    other_usd: Decimal
    share: float
    at: datetime

    def __str__(self) -> str:
        return (
            f"{self.coin_symbol} at {self.at:%Y-%m-%d %H:%M}: {self.one_usd.normalize():f} ({self.one_source}) and "
            f"{self.other_usd.normalize():f} ({self.other_source}), {self.share:.1%} apart"
        )


def merge_prices(connection: duckdb.DuckDBPyConnection, prices: Iterable[Price]) -> int:
    """Store ``prices``: upsert them by coin, time and source; return the number of new ones.

    Call it inside :meth:`Database.write`.
    """
    rows = [
        {"coin_symbol": price.coin_symbol, "at": price.at, "usd": f"{price.usd:f}", "source": price.source}
        for price in prices
    ]
    return _merge(connection, "coin_prices", _MERGE_PRICES.format(rows=table(rows, _PRICE)))


def merge_reference_index(connection: duckdb.DuckDBPyConnection, readings: Iterable[Reading]) -> int:
    """Store ``readings`` of the reference index: upsert them by day and source; return the number of new days.

    Call it inside :meth:`Database.write`.
    """
    rows = [{name: getattr(reading, name) for name in _READING} for reading in readings]
    return _merge(connection, "reference_index", _MERGE_READINGS.format(rows=table(rows, _READING)))


def newest_prices(connection: duckdb.DuckDBPyConnection, limit: int = 100) -> Preview:
    """Read from the database each coin's newest price within the last day that has prices, highest first."""
    return preview(connection, _NEWEST, limit)


def newest_readings(connection: duckdb.DuckDBPyConnection, limit: int = 14) -> Preview:
    """Read the newest days of the reference index from the database, with their sources."""
    return preview(connection, _READINGS, limit)


def disagreements(connection: duckdb.DuckDBPyConnection, share: float, since: datetime) -> list[Disagreement]:
    """Read from the database the newest simultaneous prices of two sources, from ``since`` on, that differ by more than
    ``share``.
    """
    sql = _DISAGREEMENTS.format(share=literal(share), since=literal(since), apart=int(AT_ONE_TIME.total_seconds()))
    return [Disagreement(*row) for row in connection.execute(sql).fetchall()]


def days_without_close(
    connection: duckdb.DuckDBPyConnection, coin_symbol: str, first: date, last: date, sources: Sequence[str]
) -> list[date]:
    """Read from the database the UTC days from ``first`` to ``last`` without a price of any of ``sources`` at the
    midnight after.
    """
    sql = _MISSING_CLOSES.format(
        coin=quoted(coin_symbol),
        first=literal(midnight(first)),
        last=literal(midnight(last)),
        sources=_names(sources),
    )
    return [row[0] for row in connection.execute(sql).fetchall()]


def midnight_prices(
    connection: duckdb.DuckDBPyConnection, coin_symbol: str, first: date, last: date
) -> dict[date, float]:
    """Read from the database the price in USD at the midnight that ends each UTC day: the newest one of the day's last
    hour.
    """
    sql = f"""
        SELECT ("at" - INTERVAL 1 MICROSECOND)::DATE, arg_max(usd, ("at", source))::DOUBLE FROM coin_prices
        WHERE coin_symbol = {quoted(coin_symbol)} AND hour("at" - INTERVAL 1 MICROSECOND) = 23
            AND "at" > {literal(midnight(first))} AND "at" <= {literal(midnight(last + timedelta(days=1)))}
        GROUP BY 1
    """
    return dict(connection.execute(sql).fetchall())


def reference_days(
    connection: duckdb.DuckDBPyConnection, source: str, as_of: datetime | None = None
) -> dict[date, float]:
    """Read from the database the values of a reference index by day, as fetched by ``as_of`` (naive UTC)."""
    fetched = "TRUE" if as_of is None else f"fetched_at <= {literal(as_of)}"
    sql = f"SELECT day, value::DOUBLE FROM reference_index WHERE source = {quoted(source)} AND {fetched} ORDER BY day"
    return dict(connection.execute(sql).fetchall())


def hourly_prices(
    connection: duckdb.DuckDBPyConnection, coin_symbol: str, start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """Read from the database (time, price in USD) of each hour's newest price from ``start`` up to ``end`` (naive UTC),
    ascending.
    """
    sql = f"""
        SELECT max("at"), arg_max(usd, "at")::DOUBLE FROM coin_prices
        WHERE coin_symbol = {quoted(coin_symbol)} AND "at" >= {literal(start)} AND "at" <= {literal(end)}
        GROUP BY date_trunc('hour', "at") ORDER BY 1
    """
    return connection.execute(sql).fetchall()


def newest_reference_day(connection: duckdb.DuckDBPyConnection, source: str) -> date | None:
    """Read the newest day of ``source``'s reference index from the database, ``None`` if there is none."""
    row = connection.execute(f"SELECT max(day) FROM reference_index WHERE source = {quoted(source)}").fetchone()
    return row[0] if row else None


def _names(sources: Sequence[str]) -> str:
    return f"[{', '.join(quoted(source) for source in sources)}]::VARCHAR[]"


def _merge(connection: duckdb.DuckDBPyConnection, name: str, sql: str) -> int:
    before = _rows(connection, name)
    connection.execute(sql)
    return _rows(connection, name) - before


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row: Any = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
    return int(row[0])
