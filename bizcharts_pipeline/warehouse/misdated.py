"""Rows that a wrong clock has dated: those of the future, and polls that are older than what they brought.

What says what was seen or known at a time is deleted, as that time is wrong, and so are posts of the future; the index
is computed again by the next ``history`` run. Of what stays (posts, scores, models), times of the future become the
present, and sightings from before a post was made become the time of the post. Labels stay as the ledgers have them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.core.clock import MAX_DISAGREEMENT
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.retention import OF_THREADS
from bizcharts_pipeline.warehouse.values import literal

SLACK = timedelta(minutes=10)  # a tick that is at work while this runs
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
)  # as the ledgers and retention have them
_KEPT_COLUMNS = ("posted_at", "last_modified")  # the source's own times
_TIMES = """
SELECT table_name, column_name FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal AND data_type = 'TIMESTAMP' ORDER BY ALL
"""
_LATE_POLLS = "SELECT snapshot_at FROM catalog_snapshots WHERE last_modified - snapshot_at > {day}"
_SEEN = ("first_seen_at", "last_seen_at", "ingested_at", "text_known_at")


@dataclass(frozen=True)
class Misdated:
    """How many rows of a table were dated wrongly, and what becomes of them."""

    table: str
    rows: int
    fate: str  # 'deleted', 'dated now', 'dated as their posts'


def repair(database: Database, now: datetime, *, dry_run: bool = False) -> list[Misdated]:
    """Delete or date anew what a wrong clock has dated, all in one transaction; ``now`` (naive UTC) must be right.

    Raises:
        DatabaseError: as :meth:`Database.write` does; nothing was changed.
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
    """Return table, fate, which rows, and the statement for them; a poll's observations before it, which finds them."""
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
