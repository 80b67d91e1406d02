"""The published numbers as they stood at a moment: what every display, export and API call reads.

The index and the coins are stored as vintages: final rows are added and never changed; only the provisional rows of the
running hour and day are replaced by each run. ``as_of`` (naive UTC) selects the rows that had been computed by then and
rest on nothing that became known later, and of each bucket the newest of them. So the answer equals that of a database
from which everything later was deleted. ``None`` asks for the present state.

A provisional row that was replaced is not kept: the bucket that was running at ``as_of`` has no row in the answer,
unless its present provisional row was computed by then.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.warehouse.published import Bucket, CoinReading, Reading
from bizcharts_pipeline.warehouse.values import literal

MAX_AGE = timedelta(hours=2)  # of a candle's value: from the end of its hour to the candle's open
MAX_COIN_AGE = timedelta(hours=23)  # likewise of a coin's score: not every hour has a post that names the coin
_HOUR = timedelta(hours=1)

# A reading by the earlier method has a value and a class while it is calibrating; they are not shown.
_SHOWN = {name: f"CASE WHEN state IN ('normal', 'thin') THEN {name} END AS {name}" for name in ("value", "lo", "hi")}
_SHOWN["label"] = "CASE WHEN state IN ('normal', 'thin') THEN label END AS label"
READING_COLUMNS = ", ".join(_SHOWN.get(field.name, field.name) for field in fields(Reading))
COIN_COLUMNS = ", ".join(field.name for field in fields(CoinReading))
_NEWEST = "QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY computed_at DESC, final DESC) = 1"


@dataclass(frozen=True)
class Revision:
    """State that the answers as of one moment depend on: it changes with every row added, removed or replaced."""

    newest_computed_at: datetime | None  # naive UTC
    rows: int  # of the index and of the coins, all vintages


@dataclass(frozen=True)
class Candle:
    """The index as it was knowable at the open of a candle. Times are naive UTC; all but ``open`` are None in a gap."""

    open: datetime
    value: float | None  # 0 to 100, with its 90 % interval
    lo: float | None
    hi: float | None
    stance: float | None  # -1 to 1, with its 90 % interval
    stance_lo: float | None
    stance_hi: float | None
    n_eff: float | None
    state: str | None
    bucket_start: datetime | None  # of the hour that the reading is of
    knowable_at: datetime | None  # at or before ``open``
    model_version: str | None


_OF_ITS_READING = tuple(field.name for field in fields(Candle) if field.name != "open")
_CANDLES = """
WITH opens AS (
    SELECT unnest(generate_series({first}, {last}, INTERVAL '{seconds} seconds')) AS open
), ends AS (
    SELECT open, date_trunc('hour', open) - unnest([{ages}]) * INTERVAL 1 HOUR AS bucket_start FROM opens
), known AS (
    SELECT e.open, r.* FROM ends e JOIN {table} r USING (bucket_start)
    WHERE r.bucket = 'hour' AND r.final AND r.basis = 'live' AND r.knowable_at <= e.open AND r.computed_at <= e.open
      AND e.open - bucket_start <= {oldest}
      AND {where} AND {visible}
    QUALIFY row_number() OVER (PARTITION BY e.open ORDER BY bucket_start DESC, r.computed_at) = 1
)
SELECT o.open, {columns} FROM opens o LEFT JOIN known k USING (open) ORDER BY o.open
"""


def index_sql(bucket: Bucket, as_of: datetime | None = None, where: str = "TRUE") -> str:
    """Return the SQL query for the stored buckets of the index that fulfil ``where``, each in its newest vintage, in no
    order.
    """
    return (
        f"SELECT {READING_COLUMNS} FROM fear_greed_index "
        f"WHERE bucket = {literal(bucket)} AND {where} AND {visible(as_of)} {_NEWEST.format(key='bucket_start')}"
    )


def coins_sql(bucket: Bucket, as_of: datetime | None = None, where: str = "TRUE") -> str:
    """Return the SQL query for the stored buckets of the coins that fulfil ``where``, each in its newest vintage, in no
    order.

    A coin that a later vintage no longer names has 0 mentions there.
    """
    return (
        f"SELECT {COIN_COLUMNS} FROM coin_sentiment WHERE bucket = {literal(bucket)} AND {where} AND {visible(as_of)} "
        f"{_NEWEST.format(key='coin_symbol, bucket_start')}"
    )


def index_series(
    connection: duckdb.DuckDBPyConnection,
    bucket: Bucket,
    start: datetime,
    end: datetime,
    as_of: datetime | None = None,
    most: int | None = None,
) -> list[Reading]:
    """Read from the database the index's buckets that begin in ``[start, end)`` (naive UTC), ascending, each in its
    newest vintage.

    With ``most``, no more than the first ``most`` of them.
    """
    within = _between(start, end)
    if most is not None:
        within += f" AND {_first('fear_greed_index', bucket, as_of, within, most)}"
    query = index_sql(bucket, as_of, within)
    return [Reading(*row) for row in connection.execute(f"{query} ORDER BY bucket_start").fetchall()]


def newest_readings(
    connection: duckdb.DuckDBPyConnection,
    bucket: Bucket,
    most: int,
    as_of: datetime | None = None,
    before: datetime | None = None,
) -> list[Reading]:
    """Read from the database the newest ``most`` readings of the index, the newest first; the running bucket is the
    first one.

    With ``before`` (naive UTC), the newest of the buckets that begin before it.
    """
    query = index_sql(bucket, as_of, _newest_before("fear_greed_index", bucket, as_of, "TRUE", most, before))
    return [Reading(*row) for row in connection.execute(f"{query} ORDER BY bucket_start DESC").fetchall()]


def newest_reading(
    connection: duckdb.DuckDBPyConnection, bucket: Bucket, as_of: datetime | None = None
) -> Reading | None:
    """Read from the database the index's reading of the newest bucket; ``None``: there was none yet."""
    return next(iter(newest_readings(connection, bucket, 1, as_of)), None)


def first_bucket(
    connection: duckdb.DuckDBPyConnection, bucket: Bucket, as_of: datetime | None = None
) -> datetime | None:
    """Read from the database the begin of the index's first bucket (naive UTC); ``None``: there is none yet."""
    query = f"SELECT min(bucket_start) FROM fear_greed_index WHERE bucket = {literal(bucket)} AND {visible(as_of)}"
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def coin_board(
    connection: duckdb.DuckDBPyConnection, bucket: Bucket, as_of: datetime | None = None
) -> list[CoinReading]:
    """Read from the database the coins of the newest bucket that has any, the most mentioned first.

    A coin that a later vintage no longer names is not among them.
    """
    newest = f"SELECT max(bucket_start) FROM coin_sentiment WHERE bucket = {literal(bucket)} AND {visible(as_of)}"
    query = coins_sql(bucket, as_of, f"bucket_start = ({newest})")
    rows = connection.execute(
        f"SELECT * FROM ({query}) WHERE mentions > 0 ORDER BY mentions DESC, coin_symbol"
    ).fetchall()
    return [CoinReading(*row) for row in rows]


def coin_series(
    connection: duckdb.DuckDBPyConnection,
    symbol: str,
    bucket: Bucket,
    start: datetime,
    end: datetime,
    as_of: datetime | None = None,
    most: int | None = None,
) -> list[CoinReading]:
    """Read from the database one coin's buckets that begin in ``[start, end)`` (naive UTC), ascending, each in its
    newest vintage.

    A bucket without a mention has no row, or one with 0 mentions where an earlier vintage had named the coin. With
    ``most``, no more than the first ``most`` of them.
    """
    within = f"coin_symbol = {literal(symbol)} AND {_between(start, end)}"
    if most is not None:
        within += f" AND {_first('coin_sentiment', bucket, as_of, within, most)}"
    query = coins_sql(bucket, as_of, within)
    return [CoinReading(*row) for row in connection.execute(f"{query} ORDER BY bucket_start").fetchall()]


def series_of_coins(
    connection: duckdb.DuckDBPyConnection,
    symbols: Sequence[str],
    bucket: Bucket,
    start: datetime,
    end: datetime,
    as_of: datetime | None = None,
) -> dict[str, list[CoinReading]]:
    """Read from the database :func:`coin_series` of each of ``symbols``, by one query."""
    found: dict[str, list[CoinReading]] = {symbol: [] for symbol in symbols}
    if not symbols:
        return found
    named = f"coin_symbol IN ({', '.join(map(literal, symbols))}) AND {_between(start, end)}"
    rows = connection.execute(f"{coins_sql(bucket, as_of, named)} ORDER BY bucket_start").fetchall()
    for reading in (CoinReading(*row) for row in rows):
        found[reading.coin_symbol].append(reading)
    return found


def coins_of_hours(
    connection: duckdb.DuckDBPyConnection, starts: Collection[datetime]
) -> dict[datetime, dict[str, CoinReading]]:
    """Read from the database the coins of the hours that begin at ``starts`` (naive UTC), by hour and symbol.

    An hour without coins has an empty entry; a coin that a later vintage no longer names has none.
    """
    found: dict[datetime, dict[str, CoinReading]] = {start: {} for start in starts}
    if not starts:
        return found
    query = coins_sql("hour", None, f"bucket_start IN ({', '.join(map(literal, sorted(starts)))})")
    for reading in (CoinReading(*row) for row in connection.execute(query).fetchall()):
        if reading.mentions:
            found[reading.bucket_start][reading.coin_symbol] = reading
    return found


def newest_coin_readings(
    connection: duckdb.DuckDBPyConnection,
    symbol: str,
    bucket: Bucket,
    most: int,
    as_of: datetime | None = None,
    before: datetime | None = None,
) -> list[CoinReading]:
    """Read from the database one coin's newest ``most`` buckets, the newest first; with ``before``, of those that begin
    before it.
    """
    named = f"coin_symbol = {literal(symbol)}"
    query = coins_sql(bucket, as_of, _newest_before("coin_sentiment", bucket, as_of, named, most, before))
    return [CoinReading(*row) for row in connection.execute(f"{query} ORDER BY bucket_start DESC").fetchall()]


def knows_coin(connection: duckdb.DuckDBPyConnection, symbol: str, as_of: datetime | None = None) -> bool:
    """Whether any bucket in the database has named the coin."""
    query = f"SELECT 1 FROM coin_sentiment WHERE coin_symbol = {literal(symbol)} AND {visible(as_of)} LIMIT 1"
    return connection.execute(query).fetchone() is not None


def candles(
    connection: duckdb.DuckDBPyConnection,
    step: timedelta,
    first: datetime,
    last: datetime,
    as_of: datetime | None = None,
) -> list[Candle]:
    """Read from the database a candle of the index for each ``step`` from the open ``first`` to the open ``last``
    (naive UTC), ascending.

    A candle has the reading of the newest hour that had ended and was knowable at its open; in a gap, where the newest
    had ended more than :data:`MAX_AGE` before the open, it has none. Of that hour's vintages that were knowable
    then, the *first* counts: the model and the method of a later one were chosen later. So a candle depends on nothing
    that became known after its open.
    """
    columns = {name: f"k.{name}" for name in _OF_ITS_READING} | {
        name: f"CASE WHEN k.state IN ('normal', 'thin') THEN k.{name} END" for name in ("value", "lo", "hi")
    }
    sql = _candles_sql("fear_greed_index", columns.values(), "TRUE", MAX_AGE, step, first, last, as_of)
    return [Candle(*row) for row in connection.execute(sql).fetchall()]


def coin_scores_at_opens(
    connection: duckdb.DuckDBPyConnection,
    symbol: str,
    step: timedelta,
    first: datetime,
    last: datetime,
    as_of: datetime | None = None,
) -> list[tuple[datetime, float | None]]:
    """Read from the database (open, coin's score knowable then) under the rule of :func:`candles`; ``None`` in a gap.

    The score is that of the newest hour with a post that names the coin, :data:`MAX_COIN_AGE` old at most.
    """
    named = f"r.coin_symbol = {literal(symbol)} AND r.score IS NOT NULL"
    sql = _candles_sql("coin_sentiment", ["k.score"], named, MAX_COIN_AGE, step, first, last, as_of)
    return connection.execute(sql).fetchall()


def _candles_sql(
    table: str,
    columns: Iterable[str],
    where: str,
    max_age: timedelta,
    step: timedelta,
    first: datetime,
    last: datetime,
    as_of: datetime | None,
) -> str:
    """Return the query for what of ``table`` was knowable at each open, by the rule of :func:`candles`."""
    return _CANDLES.format(
        table=table,
        columns=", ".join(columns),
        where=where,
        oldest=f"INTERVAL '{int((_HOUR + max_age).total_seconds())} seconds'",
        ages=", ".join(str(hours) for hours in range(1, max_age // _HOUR + 2)),
        seconds=int(step.total_seconds()),
        first=literal(first),
        last=literal(last),
        visible=visible(as_of),
    )


def newest_computed_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Read from the database when the newest row of the index or of the coins was computed (naive UTC); ``None``: there
    is none.
    """
    return revision(connection).newest_computed_at


def revision(connection: duckdb.DuckDBPyConnection, as_of: datetime | None = None) -> Revision:
    """Read from the database the revision of all rows of the index and of the coins that are visible at ``as_of``.

    The newest time alone would not do: a long run that began before a shorter one adds rows that are not the newest.
    """
    shown = visible(as_of)
    row = connection.execute(
        "SELECT greatest(i.newest, c.newest), i.rows + c.rows FROM "
        f"(SELECT max(computed_at) AS newest, count(*) AS rows FROM fear_greed_index WHERE {shown}) i, "
        f"(SELECT max(computed_at) AS newest, count(*) AS rows FROM coin_sentiment WHERE {shown}) c"
    ).fetchone()
    assert row
    return Revision(*row)


def visible(as_of: datetime | None) -> str:
    """Return the SQL condition for rows of the index or the coins that were there at ``as_of``, and are still: the
    provisional one of a moment is gone as soon as the service replaces it.
    """
    if as_of is None:
        return "TRUE"
    return f"computed_at <= {literal(as_of)} AND knowable_at <= {literal(as_of)} AND final"


def _between(start: datetime, end: datetime) -> str:
    return f"bucket_start >= {literal(start)} AND bucket_start < {literal(end)}"


def _first(table: str, bucket: Bucket, as_of: datetime | None, where: str, most: int) -> str:
    """Condition: among the first ``most`` buckets of those that fulfil ``where``. Found before the vintages are
    compared, which would read every column of all of them."""
    return (
        f"bucket_start <= (SELECT max(b) FROM (SELECT DISTINCT bucket_start AS b FROM {table} "
        f"WHERE bucket = {literal(bucket)} AND {where} AND {visible(as_of)} ORDER BY b LIMIT {int(most)}))"
    )


def _newest_before(
    table: str, bucket: Bucket, as_of: datetime | None, where: str, most: int, before: datetime | None
) -> str:
    """Return a condition for rows that satisfy ``where`` and are of the newest ``most`` buckets before ``before``."""
    within = where if before is None else f"{where} AND bucket_start < {literal(before)}"
    return (
        f"{within} AND bucket_start >= (SELECT min(b) FROM (SELECT DISTINCT bucket_start AS b FROM {table} "
        f"WHERE bucket = {literal(bucket)} AND {within} AND {visible(as_of)} ORDER BY b DESC LIMIT {int(most)}))"
    )
