"""Writes readings as append-only vintages.

A final row never changes. If a bucket is computed again with another result, the new row is added with a later
``computed_at``; the newest is current. The running hour and day have one provisional row each.
"""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.readings import LABELS, STATES
from bizcharts_pipeline.index.store import texts, times
from bizcharts_pipeline.index.stretch import CoinReadings, MarketReadings
from bizcharts_pipeline.index.votes import DAY, HOUR, MINUTE

LIVE_WITHIN = 2 * HOUR  # a reading computed later than this after its end counts as reconstructed
GRACE = 3 * MINUTE  # time until an ended bucket is final: the next poll sees its last posts
STANCE_TOLERANCE = 1e-6  # a final reading that changes by less gets no new vintage
VALUE_TOLERANCE = 0.05  # index points

# Long columns are numbers, which DuckDB reads from numpy without inspecting each value; text is added here.
_WORDS = """
if(day, 'day', 'hour') AS bucket, if(live, 'live', 'reconstructed') AS basis, o.model_version, o.method,
o.computed_at
"""
_MARKET = f"""
CREATE OR REPLACE TEMP VIEW fresh AS
SELECT f.* EXCLUDE (day, live, label, state), {_WORDS},
       {list(LABELS)}[label + 1] AS label, {list(STATES)}[state + 1] AS state
FROM fresh_readings f CROSS JOIN origin o
"""
_COINS = f"""
CREATE OR REPLACE TEMP VIEW fresh AS
SELECT f.* EXCLUDE (day, live, coin), {_WORDS}, s.coin_symbol
FROM fresh_readings f JOIN fresh_symbols s USING (coin) CROSS JOIN origin o
"""
_BUCKETS = f"""
CREATE OR REPLACE TEMP VIEW buckets AS
SELECT bucket_start, knowable_at, {_WORDS} FROM (SELECT *, false AS live FROM fresh_buckets) CROSS JOIN origin
o WHERE final
"""

_DIFFERS = """
CREATE OR REPLACE TEMP MACRO differs(a, b, tolerance) AS
    coalesce(abs(a - b) > tolerance, (a IS NULL) <> (b IS NULL))
"""
# A long run that ends after a later, quicker one must not restore outdated provisional rows.
_DROP_PROVISIONAL = "DELETE FROM {table} WHERE NOT final AND computed_at <= (SELECT computed_at FROM origin)"
_ADD_PROVISIONAL = """
INSERT INTO {table} BY NAME
SELECT * FROM fresh WHERE NOT final AND NOT EXISTS (SELECT 1 FROM {table} WHERE NOT final)
"""

# A new vintage where there is none yet or where the current one differs.
_ADD_MARKET = """
INSERT INTO fear_greed_index BY NAME
WITH current AS (
    SELECT * FROM fear_greed_index WHERE final
      AND bucket_start >= (SELECT min(bucket_start) FROM fresh)
      AND bucket_start <= (SELECT max(bucket_start) FROM fresh)
    QUALIFY row_number() OVER (PARTITION BY bucket, bucket_start ORDER BY computed_at DESC) = 1
)
SELECT f.* REPLACE (
    CASE WHEN c.bucket IS NULL THEN f.basis ELSE 'reconstructed' END AS basis,
    coalesce(greatest(f.computed_at, c.computed_at + INTERVAL 1 MICROSECOND), f.computed_at) AS computed_at)
FROM fresh f LEFT JOIN current c ON c.bucket = f.bucket AND c.bucket_start = f.bucket_start
WHERE f.final AND (
    c.bucket IS NULL OR c.model_version <> f.model_version OR c.method IS DISTINCT FROM f.method
    OR c.n <> f.n OR c.state <> f.state
    OR c.label IS DISTINCT FROM f.label
    OR differs(c.raw_stance, f.raw_stance, {stance})
    OR differs(c.stance, f.stance, {stance})
    OR differs(c.value, f.value, {value}))
"""

# As above; a coin no longer named in a bucket gets a vintage without a score.
_ADD_COINS = """
INSERT INTO coin_sentiment BY NAME
WITH current AS (
    SELECT c.* FROM coin_sentiment c SEMI JOIN buckets b USING (bucket, bucket_start)
    WHERE c.final
    QUALIFY row_number() OVER (PARTITION BY coin_symbol, bucket, bucket_start ORDER BY computed_at DESC) = 1
)
SELECT f.* REPLACE (
    CASE WHEN c.bucket IS NULL THEN f.basis ELSE 'reconstructed' END AS basis,
    coalesce(greatest(f.computed_at, c.computed_at + INTERVAL 1 MICROSECOND), f.computed_at) AS computed_at)
FROM fresh f LEFT JOIN current c
  ON c.coin_symbol = f.coin_symbol AND c.bucket = f.bucket AND c.bucket_start = f.bucket_start
WHERE f.final AND (
    c.bucket IS NULL OR c.model_version <> f.model_version OR c.method IS DISTINCT FROM f.method
    OR c.mentions <> f.mentions
    OR differs(c.n_eff, f.n_eff, {stance})
    OR differs(c.score, f.score, {stance}))
UNION ALL BY NAME
SELECT c.* REPLACE (
    NULL AS score, NULL AS lo, NULL AS hi, 0 AS mentions, 0 AS n_eff, 'reconstructed' AS basis,
    b.model_version AS model_version, b.method AS method, b.knowable_at AS knowable_at,
    greatest(b.computed_at, c.computed_at + INTERVAL 1 MICROSECOND) AS computed_at)
FROM current c JOIN buckets b USING (bucket, bucket_start)
ANTI JOIN fresh f ON f.coin_symbol = c.coin_symbol AND f.bucket = c.bucket AND f.bucket_start = c.bucket_start
WHERE c.mentions > 0
"""

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Origin:
    """Provenance of a run's readings; times in microseconds."""

    model_version: str
    method: str
    chosen_at: int | None  # when the model was trained, or last became champion
    now: int
    after: int  # complete buckets that ended at or before this time are not written


def append_market(connection: duckdb.DuckDBPyConnection, readings: MarketReadings, origin: Origin) -> int:
    """Append the market's readings to the index and replace the provisional ones; return the number of new final
    rows.
    """
    place, buckets = _buckets(readings, origin)
    for name in (
        "n",
        "n_eff",
        "raw_stance",
        "stance",
        "stance_lo",
        "stance_hi",
        "stance_wide_lo",
        "stance_wide_hi",
        "history_days",
        "value",
        "lo",
        "hi",
        "coverage",
    ):
        buckets[name] = getattr(readings, name)[place]
    labels = {None: -1} | {label: code for code, label in enumerate(LABELS)}
    buckets["label"] = np.array([labels[label] for label in readings.label])[place]
    buckets["state"] = np.array([STATES.index(state) for state in readings.state])[place]
    buckets["live"] = (readings.live & _polled(readings) & (origin.now - readings.ends <= LIVE_WITHIN))[place]
    _register_origin(connection, origin)
    connection.register("fresh_readings", buckets)
    connection.execute(_MARKET)
    return _append(connection, "fear_greed_index", _ADD_MARKET, readings.provisional)


def append_coins(
    connection: duckdb.DuckDBPyConnection,
    readings: MarketReadings,
    coins: CoinReadings,
    symbols: tuple[str, ...],
    origin: Origin,
) -> int:
    """Append the coins' readings to the index and replace the provisional ones; return the number of new final rows."""
    place, buckets = _buckets(readings, origin)
    row, bucket = _pairs(coins.reading, place)
    fresh = {name: column[bucket] for name, column in buckets.items()}
    for name in ("coin", "mentions", "n_eff", "score", "lo", "hi"):
        fresh[name] = getattr(coins, name)[row]
    reading = coins.reading[row]
    fresh["live"] = coins.live[row] & (_polled(readings) & (origin.now - readings.ends <= LIVE_WITHIN))[reading]
    _register_origin(connection, origin)
    connection.register("fresh_buckets", buckets)
    connection.register("fresh_readings", fresh)
    names = {"coin": np.arange(len(symbols) + 1), "coin_symbol": texts([*symbols, ""])}
    connection.register("fresh_symbols", names)
    connection.execute(_BUCKETS)
    connection.execute(_COINS)
    return _append(connection, "coin_sentiment", _ADD_COINS, readings.provisional)


def _append(connection: duckdb.DuckDBPyConnection, table: str, add: str, provisional: bool) -> int:
    connection.execute(_DIFFERS)
    if provisional:
        connection.execute(_DROP_PROVISIONAL.format(table=table))
    added = connection.execute(add.format(stance=STANCE_TOLERANCE, value=VALUE_TOLERANCE)).fetchone()
    connection.execute(_ADD_PROVISIONAL.format(table=table))
    return int(added[0]) if added else 0


def _register_origin(connection: duckdb.DuckDBPyConnection, origin: Origin) -> None:
    columns = {
        "model_version": texts([origin.model_version]),
        "method": texts([origin.method]),
        "computed_at": times([origin.now]),
    }
    connection.register("origin", columns)


def _buckets(readings: MarketReadings, origin: Origin) -> tuple[NDArray[np.int64], Table]:
    """Return the time buckets of the index and the reading each of them takes.

    Buckets are every hour, every day at its end, and the current hour and day. An hour without posts has a reading only
    if the collector covered that hour.
    """
    every = np.arange(len(readings.ends))
    hours = every[: len(every) - readings.provisional]
    hours = hours[readings.ends[hours] > origin.after]
    hours = hours[(readings.n[hours] > 0) | ~np.isnan(readings.coverage[hours])]
    days = hours[readings.ends[hours] % DAY == 0]
    running = every[len(every) - readings.provisional :]
    place = np.concatenate([hours, days, running, running])
    day = np.repeat([False, True, False, True], [len(hours), len(days), len(running), len(running)])
    complete = np.arange(len(place)) < len(hours) + len(days)
    ends, length = readings.ends[place], np.where(day, DAY, HOUR)
    final = complete & (ends <= origin.now - GRACE)
    knowable = np.maximum(readings.knowable_at[place], origin.chosen_at or 0)
    return place, {
        "day": day,
        "bucket_start": times(np.where(complete, ends - length, ends // length * length)),
        "final": final,
        "knowable_at": times(np.where(final, knowable, origin.now)),
    }


def _polled(readings: MarketReadings) -> NDArray[np.bool_]:
    return np.nan_to_num(readings.coverage) > 0


def _pairs(reading: NDArray[np.int64], place: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of an entry of ``reading`` and an equal entry of ``place``, as their indices."""
    by_reading = np.argsort(place, kind="stable")
    begin = np.searchsorted(place[by_reading], reading)
    count = np.searchsorted(place[by_reading], reading, side="right") - begin
    row = np.repeat(np.arange(len(reading)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, by_reading[np.repeat(begin, count) + nth]
