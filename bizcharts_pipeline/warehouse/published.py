"""The published numbers as typed rows: the current vintage of each bucket of the index and of the coins."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

import duckdb

from bizcharts_pipeline.warehouse.values import literal

Bucket = Literal["hour", "day"]


@dataclass(frozen=True)
class Reading:
    """One hour or day of the Fear/Greed index: the state at the bucket's end. Times are naive UTC."""

    bucket_start: datetime
    bucket: Bucket
    value: float | None  # 0 (fear) to 100 (greed); None: no reading, or still calibrating
    lo: float | None  # 90 % interval
    hi: float | None
    label: str | None  # one of the five classes
    state: str  # 'normal', 'thin', 'calibrating' or 'no reading'
    stance: float | None  # -1 to 1, with its 90 % interval
    stance_lo: float | None
    stance_hi: float | None
    stance_wide_lo: float | None  # 90 % interval including the scoring model's error; None: not measured on gold
    stance_wide_hi: float | None
    history_days: int | None  # daily points that the value is ranked in, or would be
    n: int  # opening posts that count
    n_eff: float
    coverage: float | None
    final: bool
    model_version: str
    basis: str  # 'live' or 'reconstructed'
    computed_at: datetime
    knowable_at: datetime


@dataclass(frozen=True)
class CoinReading:
    """One coin in one bucket. Times are naive UTC."""

    coin_symbol: str
    bucket_start: datetime
    bucket: Bucket
    score: float | None  # -1 to 1, with its 90 % interval; None: no longer mentioned
    lo: float | None
    hi: float | None
    mentions: int
    n_eff: float
    final: bool
    model_version: str
    computed_at: datetime
    knowable_at: datetime


# Readings of an earlier method have a value and a class while calibrating; these are hidden.
_WITH_VALUE = {
    name: f"CASE WHEN state IN ('normal', 'thin') THEN {name} END AS {name}" for name in ("value", "lo", "hi", "label")
}


def index_readings(connection: duckdb.DuckDBPyConnection, bucket: Bucket, most: int) -> list[Reading]:
    """Return the newest ``most`` readings of the index, newest first; the first is the current bucket."""
    columns = ", ".join(_WITH_VALUE.get(field.name, field.name) for field in fields(Reading))
    rows = connection.execute(
        f"SELECT {columns} FROM fear_greed_index WHERE bucket = {literal(bucket)} "
        "QUALIFY row_number() OVER (PARTITION BY bucket_start ORDER BY computed_at DESC) = 1 "
        f"ORDER BY bucket_start DESC LIMIT {int(most)}"
    ).fetchall()
    return [Reading(*row) for row in rows]


def coin_readings(connection: duckdb.DuckDBPyConnection, bucket: Bucket, most: int) -> list[CoinReading]:
    """Return the coins of the newest bucket, most mentioned first."""
    columns = ", ".join(field.name for field in fields(CoinReading))
    rows = connection.execute(
        f"SELECT {columns} FROM coin_sentiment WHERE bucket = {literal(bucket)} "
        f"AND bucket_start = (SELECT max(bucket_start) FROM coin_sentiment WHERE bucket = {literal(bucket)}) "
        "QUALIFY row_number() OVER (PARTITION BY coin_symbol ORDER BY computed_at DESC) = 1 "
        f"ORDER BY mentions DESC, coin_symbol LIMIT {int(most)}"
    ).fetchall()
    return [CoinReading(*row) for row in rows]
