"""Table ``catalog_snapshots``: recording of complete polls of the live catalogue."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

import duckdb

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.errors import UnknownCatalog
from bizcharts_pipeline.warehouse.threads import MergeResult, merge_threads
from bizcharts_pipeline.warehouse.values import inserted, literal, table

TOP_COINS = 10
OUTAGE = timedelta(hours=2)  # without a poll, if longer

_SNAPSHOT = {
    "snapshot_at": "TIMESTAMP",
    "total_threads": "INTEGER",
    "avg_reply_count": "DOUBLE",
    "top_coins": "JSON",
    "new_threads": "INTEGER",
    "changed_threads": "INTEGER",
    "not_modified": "BOOLEAN",
    "last_modified": "TIMESTAMP",
    "rejected_threads": "INTEGER",
}


@dataclass(frozen=True)
class PollResult:
    """Changes made by a poll. All but ``total_threads`` are 0 for a poll that was recorded before."""

    new_threads: int
    changed_threads: int
    observations: int
    total_threads: int
    not_modified: bool


@dataclass(frozen=True)
class Snapshot:
    """Summary of a poll made by another program."""

    snapshot_at: datetime
    total_threads: int | None
    avg_reply_count: float | None
    top_coins: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class PollDay:
    """The polls of one UTC day."""

    day: date
    polls: int
    not_modified: int  # answers that said that nothing is new
    rejected: int  # entries of the catalogue that could not be read
    new_threads: int


@dataclass(frozen=True)
class Outage:
    """A stretch of time without a poll, between two polls. Times are naive UTC."""

    last_poll: datetime
    next_poll: datetime


def record_poll(
    connection: duckdb.DuckDBPyConnection,
    *,
    snapshot_at: datetime,
    last_modified: datetime | None,
    threads: Sequence[PreparedThread] | None,
    rejected: int,
    ingested_at: datetime,
) -> PollResult:
    """Store one poll of the catalogue: its row in ``catalog_snapshots``, and its threads.

    ``threads=None`` means that the source answered "not modified": the last poll's figures are repeated and its threads
    count as seen again. A poll is identified by ``snapshot_at``; recording it again changes nothing. Call it inside
    :meth:`Database.write`.

    Raises:
        UnknownCatalog: "not modified", but for another catalogue than the last one recorded here.
    """
    recorded = connection.execute(
        f"SELECT total_threads, not_modified FROM catalog_snapshots WHERE snapshot_at = {literal(snapshot_at)} LIMIT 1"
    ).fetchone()
    if recorded:
        return PollResult(0, 0, 0, recorded[0] or 0, recorded[1])
    if threads is None:
        return _record_not_modified(connection, snapshot_at, last_modified)
    merged = merge_threads(connection, threads, ingested_at=ingested_at, seen_at=snapshot_at)
    latest = list({prepared.thread.thread_id: prepared for prepared in threads}.values())
    _insert_poll(connection, latest, merged, snapshot_at, last_modified, rejected)
    return PollResult(merged.new, merged.changed, merged.observations, len(latest), False)


def insert_snapshots(connection: duckdb.DuckDBPyConnection, snapshots: Sequence[Snapshot]) -> int:
    """Store polls of the catalogue made by another program; return the number of new ones. Existing ones stay
    unchanged.

    Call it inside :meth:`Database.write`.
    """
    rows = {
        poll.snapshot_at: asdict(poll)
        | {"top_coins": [{"symbol": symbol, "mentions": mentions} for symbol, mentions in poll.top_coins]}
        for poll in snapshots
    }
    return inserted(
        connection,
        f"""
        INSERT INTO catalog_snapshots BY NAME
        SELECT snapshot_at, total_threads, avg_reply_count, top_coins, FALSE AS not_modified
        FROM {table(rows.values(), _SNAPSHOT)}
        WHERE snapshot_at NOT IN (SELECT snapshot_at FROM catalog_snapshots)
        """,
    )


def _insert_poll(
    connection: duckdb.DuckDBPyConnection,
    threads: Sequence[PreparedThread],
    merged: MergeResult,
    snapshot_at: datetime,
    last_modified: datetime | None,
    rejected: int,
) -> None:
    replies = [prepared.thread.reply_count for prepared in threads if prepared.thread.reply_count is not None]
    row = {
        "snapshot_at": snapshot_at,
        "total_threads": len(threads),
        "avg_reply_count": sum(replies) / len(replies) if replies else None,
        "top_coins": top_coins(threads),
        "new_threads": merged.new,
        "changed_threads": merged.changed,
        "not_modified": False,
        "last_modified": last_modified,
        "rejected_threads": rejected,
    }
    connection.execute(f"INSERT INTO catalog_snapshots BY NAME SELECT * FROM {table([row], _SNAPSHOT)}")


def last_poll(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Read the time of the newest poll from the database (naive UTC); ``None`` without one."""
    row = connection.execute("SELECT max(snapshot_at) FROM catalog_snapshots").fetchone()
    return row[0] if row else None


def polls_by_day(connection: duckdb.DuckDBPyConnection, days: int) -> list[PollDay]:
    """Read from the database the polls of each of the last ``days`` before the newest poll, the newest day first."""
    rows = connection.execute(
        "SELECT snapshot_at::DATE AS day, count(*), count(*) FILTER (not_modified), "
        "coalesce(sum(rejected_threads), 0), coalesce(sum(new_threads), 0) FROM catalog_snapshots "
        f"WHERE snapshot_at >= (SELECT max(snapshot_at) FROM catalog_snapshots) - INTERVAL {int(days)} DAY "
        "GROUP BY day ORDER BY day DESC"
    )
    return [PollDay(*row) for row in rows.fetchall()]


def outages(connection: duckdb.DuckDBPyConnection, most: int) -> list[Outage]:
    """Read from the database the newest ``most`` stretches longer than :data:`OUTAGE` without a poll, newest first.

    Of shorter ones nothing is known once retention has thinned the polls to one an hour.
    """
    rows = connection.execute(
        "SELECT previous, snapshot_at FROM ("
        "SELECT snapshot_at, lag(snapshot_at) OVER (ORDER BY snapshot_at) AS previous FROM catalog_snapshots"
        f") WHERE snapshot_at - previous > INTERVAL {OUTAGE // timedelta(hours=1)} HOUR "
        f"ORDER BY snapshot_at DESC LIMIT {int(most)}"
    )
    return [Outage(*row) for row in rows.fetchall()]


def top_coins(threads: Sequence[PreparedThread]) -> list[dict[str, str | int]]:
    """Return the coins named by most threads of a poll, as stored with it, most first, then by symbol; a thread counts
    a coin once.
    """
    counted = Counter(symbol for prepared in threads for symbol in {m.coin_symbol for m in prepared.mentions})
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [{"symbol": symbol, "mentions": mentions} for symbol, mentions in ranked[:TOP_COINS]]


def _record_not_modified(
    connection: duckdb.DuckDBPyConnection, snapshot_at: datetime, last_modified: datetime | None
) -> PollResult:
    now = literal(snapshot_at)
    previous = connection.execute(
        "SELECT snapshot_at, total_threads, last_modified FROM catalog_snapshots "
        f"WHERE snapshot_at < {now} ORDER BY snapshot_at DESC LIMIT 1"
    ).fetchone()
    if previous is None or last_modified not in (None, previous[2]):
        raise UnknownCatalog(f"not modified since {last_modified}, but no catalogue of that time is recorded here")
    before, total, _ = previous
    connection.execute(
        f"""
        INSERT INTO catalog_snapshots BY NAME
        SELECT {now} AS snapshot_at, p.total_threads, p.avg_reply_count, p.top_coins, 0 AS new_threads,
               0 AS changed_threads, TRUE AS not_modified,
               coalesce({literal(last_modified)}, p.last_modified) AS last_modified, 0 AS rejected_threads
        FROM catalog_snapshots AS p WHERE p.snapshot_at = {literal(before)} LIMIT 1
        """
    )
    # The threads of the last catalogue are those last seen in it.
    connection.execute(f"UPDATE thread_ops SET last_seen_at = {now} WHERE last_seen_at = {literal(before)}")
    return PollResult(0, 0, 0, total or 0, True)
