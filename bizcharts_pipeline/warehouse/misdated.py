"""Repair of rows dated by a wrong clock: future rows, and polls older than the data that they fetched.

Rows that record when something was seen or known are deleted, as their time is wrong, and so are future posts; the next
``history`` run recomputes the index. In rows that stay (posts, scores, models), future times are set to now, and
sighting times before a post's creation are set to its creation. Labels stay as in the ledgers.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.core.clock import MAX_DISAGREEMENT, SLACK
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.retention import OF_THREADS
from bizcharts_pipeline.warehouse.values import literal

_DELETED = {
    "catalog_snapshots": "snapshot_at",
    "thread_observations": "seen_at",
    "fear_greed_index": "greatest(bucket_start, computed_at)",
    "coin_sentiment": "greatest(bucket_start, computed_at)",
    "index_states": '"at"',
    "coin_prices": '"at"',
    "reference_index": "day::TIMESTAMP",
    "warosu_days": "day::TIMESTAMP",
    "archive_overlaps": "day::TIMESTAMP",
}
_KEPT_TABLES = (
    "training_labels",
    "auto_labels",
    "gold_split",
    "retention_marks",
)  # same as in the ledgers and in retention
_KEPT_COLUMNS = ("posted_at", "last_modified")  # the source's own times
_TIMES = """
SELECT table_name, column_name FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal AND data_type = 'TIMESTAMP' ORDER BY ALL
"""
_LATE_POLLS = "SELECT snapshot_at FROM catalog_snapshots WHERE last_modified - snapshot_at > {day}"
_SEEN = ("first_seen_at", "last_seen_at", "ingested_at", "text_known_at")


@dataclass(frozen=True)
class Misdated:
    """How many rows of a table had a wrong date, and the action taken."""

    table: str
    rows: int
    fate: str  # 'deleted', 'dated now', 'dated as their posts'


def repair(database: Database, now: datetime, *, dry_run: bool = False) -> list[Misdated]:
    """Delete or re-date all rows of the database dated by a wrong clock, in one transaction; ``now`` (naive UTC) must
    be right.

    Raises:
        DatabaseError: as :meth:`Database.write`; nothing was changed.
    """
    found = []
    with database.read() if dry_run else database.write() as connection:
        for table, fate, condition, statement in _changes(connection, now):
            row = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()
            if row and row[0]:
                found.append(Misdated(table, row[0], fate))
                if not dry_run:
                    connection.execute(f"{statement} WHERE {condition}")
    return found


def _changes(connection: duckdb.DuckDBPyConnection, now: datetime) -> list[tuple[str, str, str, str]]:
    """Return (table, fate, condition, statement) per change; a poll's observations precede the poll they are joined
    with.
    """
    after, present = literal(now + SLACK), literal(now)
    day = f"INTERVAL {MAX_DISAGREEMENT.days} DAY"
    late = _LATE_POLLS.format(day=day)
    unborn = f"thread_id IN (SELECT thread_id FROM thread_ops WHERE posted_at > {after})"
    changes = [(table, "deleted", unborn, f"DELETE FROM {table}") for table in (*OF_THREADS, "thread_ops")]
    changes += [("thread_observations", "deleted", f"seen_at IN ({late})", "DELETE FROM thread_observations")]
    changes += [
        ("catalog_snapshots", "deleted", f"last_modified - snapshot_at > {day}", "DELETE FROM catalog_snapshots")
    ]
    for table, time in _DELETED.items():
        changes.append((table, "deleted", f"{time} > {after}", f"DELETE FROM {table}"))
    for table, column in connection.execute(_TIMES).fetchall():
        if table not in _KEPT_TABLES and column not in _KEPT_COLUMNS:
            statement = f'UPDATE {table} SET "{column}" = {present}'
            changes.append((table, "dated now", f'"{column}" > {after}', statement))
    for column in _SEEN:
        condition = f"posted_at - {column} > {day}"
        changes.append(("thread_ops", "dated as their posts", condition, f"UPDATE thread_ops SET {column} = posted_at"))
    return changes
