"""Rows of the published tables, as the index writes them, for what reads them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.warehouse.values import table

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_INDEX = {
    "bucket_start": "TIMESTAMP",
    "bucket": "VARCHAR",
    "value": "DOUBLE",
    "lo": "DOUBLE",
    "hi": "DOUBLE",
    "label": "VARCHAR",
    "stance": "DOUBLE",
    "stance_lo": "DOUBLE",
    "stance_hi": "DOUBLE",
    "raw_stance": "DOUBLE",
    "state": "VARCHAR",
    "final": "BOOLEAN",
    "n": "INTEGER",
    "n_eff": "DOUBLE",
    "coverage": "DOUBLE",
    "history_days": "INTEGER",
    "model_version": "VARCHAR",
    "method": "VARCHAR",
    "basis": "VARCHAR",
    "computed_at": "TIMESTAMP",
    "knowable_at": "TIMESTAMP",
}
_COINS = {
    "coin_symbol": "VARCHAR",
    "bucket_start": "TIMESTAMP",
    "bucket": "VARCHAR",
    "score": "DOUBLE",
    "lo": "DOUBLE",
    "hi": "DOUBLE",
    "mentions": "INTEGER",
    "n_eff": "DOUBLE",
    "final": "BOOLEAN",
    "model_version": "VARCHAR",
    "method": "VARCHAR",
    "basis": "VARCHAR",
    "computed_at": "TIMESTAMP",
    "knowable_at": "TIMESTAMP",
}


@dataclass(frozen=True)
class IndexRow:
    """One vintage of the index; by default an hour that was published as it ended."""

    bucket_start: datetime
    computed_at: datetime
    knowable_at: datetime
    value: float | None = 50.0
    bucket: str = "hour"
    label: str | None = "Neutral"
    stance: float = 0.1
    state: str = "normal"
    final: bool = True
    n: int = 100
    n_eff: float = 80.0
    model_version: str = "lexicon"
    basis: str = "live"


@dataclass(frozen=True)
class CoinRow:
    """One vintage of a coin."""

    coin_symbol: str
    bucket_start: datetime
    computed_at: datetime
    knowable_at: datetime
    score: float | None = 0.2
    mentions: int = 5
    bucket: str = "day"
    n_eff: float = 4.0
    final: bool = True
    model_version: str = "lexicon"
    basis: str = "live"


def published_hour(start: datetime, value: float = 50.0, label: str = "Neutral") -> IndexRow:
    """An hour whose last post was seen half a minute after its end, computed three minutes after it."""
    end = start + HOUR
    return IndexRow(start, end + timedelta(minutes=3), end + timedelta(seconds=30), value, label=label)


def published_day(start: datetime, value: float = 50.0, label: str = "Neutral") -> IndexRow:
    """A day that was computed three minutes after its end."""
    end = start + DAY
    return IndexRow(start, end + timedelta(minutes=3), end + timedelta(seconds=30), value, "day", label)


def insert_index(connection: duckdb.DuckDBPyConnection, rows: Iterable[IndexRow]) -> None:
    """Insert vintages of the index; intervals are 5 points and 0.05 to either side."""
    values = [
        asdict(row)
        | {
            "lo": None if row.value is None else max(row.value - 5, 0),
            "hi": None if row.value is None else min(row.value + 5, 100),
            "stance_lo": row.stance - 0.05,
            "stance_hi": row.stance + 0.05,
            "raw_stance": row.stance,
            "coverage": 1.0,
            "history_days": 365,
            "method": "filter-3",
        }
        for row in rows
    ]
    connection.execute(f"INSERT INTO fear_greed_index BY NAME SELECT * FROM {table(values, _INDEX)}")


def insert_coins(connection: duckdb.DuckDBPyConnection, rows: Iterable[CoinRow]) -> None:
    """Insert vintages of coins; intervals are 0.1 to either side."""
    values = [
        asdict(row)
        | {
            "lo": None if row.score is None else row.score - 0.1,
            "hi": None if row.score is None else row.score + 0.1,
            "method": "filter-3",
        }
        for row in rows
    ]
    connection.execute(f"INSERT INTO coin_sentiment BY NAME SELECT * FROM {table(values, _COINS)}")
