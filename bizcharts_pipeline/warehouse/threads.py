"""Table ``thread_ops``: the only place that writes it.

One row per thread, from any source. Once the live poller has seen a thread, its newest sighting determines text,
subject, picture and counts, and the archive fills fields that no sighting had. Counts never decrease within a source;
the archive's final count lies in the future and is stored in separate columns. ``observed_*`` is the last live
sighting, which may decrease when replies are deleted. The rules are in ``sql/resolve_threads.sql``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.values import inserted, table

_SQL = Path(__file__).parent / "sql"
_TEXT_CHANGED = "SELECT thread_id FROM resolved WHERE change IN ('new', 'text')"

_INCOMING = {
    "thread_id": "BIGINT",
    "posted_at": "TIMESTAMP",
    "source": "VARCHAR",
    "subject": "VARCHAR",
    "op_text": "VARCHAR",
    "op_text_clean": "VARCHAR",
    "reply_count": "INTEGER",
    "image_count": "INTEGER",
    "page": "INTEGER",
    "position": "INTEGER",
    "image_url": "VARCHAR",
    "thumbnail_url": "VARCHAR",
    "image_md5": "VARCHAR",
    "image_filename": "VARCHAR",
    "image_width": "INTEGER",
    "image_height": "INTEGER",
    "image_bytes": "BIGINT",
    "file_deleted": "BOOLEAN",
    "spoiler": "BOOLEAN",
    "sticky": "BOOLEAN",
    "closed": "BOOLEAN",
    "capcode": "VARCHAR",
    "bump_limit_reached": "BOOLEAN",
    "image_limit_reached": "BOOLEAN",
    "extra": "JSON",
    "general": "VARCHAR",
    "spam_score": "DOUBLE",
    "first_seen_at": "TIMESTAMP",
    "last_seen_at": "TIMESTAMP",
    "ingested_at": "TIMESTAMP",
}
_MENTION = {
    "thread_id": "BIGINT",
    "coin_symbol": "VARCHAR",
    "confidence": "DOUBLE",
    "mention_source": "VARCHAR",
}


@dataclass(frozen=True)
class Sighting:
    """Times when the live poller saw a thread first and last; its counts are of the last time."""

    first: datetime
    last: datetime


@dataclass(frozen=True)
class MergeResult:
    """Number of threads that were new, had other counts, or had another text or subject (and must be scored again).

    ``changed_details`` counts other changes: a picture deleted, a bump limit reached, a sticky.
    """

    new: int = 0
    changed_counts: int = 0
    changed_text: int = 0
    changed_details: int = 0
    observations: int = 0

    @property
    def changed(self) -> int:
        """Number of existing threads in the database with any change other than having been seen again."""
        return self.changed_counts + self.changed_text + self.changed_details


def merge_threads(
    connection: duckdb.DuckDBPyConnection,
    threads: Sequence[PreparedThread],
    *,
    ingested_at: datetime,
    seen_at: datetime | Mapping[int, Sighting] | None,
) -> MergeResult:
    """Store ``threads``: merge them into ``thread_ops``, ``coin_mentions`` and ``thread_observations``; idempotent.

    ``seen_at`` is when the live poller saw them (one time for all, or by thread id); it is ignored for archive rows. If
    a thread occurs twice, the last row counts. Call it inside :meth:`Database.write`.
    """
    latest = {prepared.thread.thread_id: prepared for prepared in threads}
    rows = [_row(prepared, ingested_at, _sighting(prepared, seen_at)) for prepared in latest.values()]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE incoming AS SELECT * FROM {table(rows, _INCOMING)}")
    connection.execute("DELETE FROM incoming WHERE thread_id IS NULL")
    connection.execute(_statement("resolve_threads"))
    changes = dict(connection.execute("SELECT change, count(*) FROM resolved GROUP BY change").fetchall())
    observations = inserted(connection, _statement("observe_threads"))
    if connection.execute("SELECT 1 FROM resolved WHERE is_late LIMIT 1").fetchone():
        observations += inserted(connection, _statement("observe_late_threads"))
    connection.execute(_statement("merge_threads"))
    if changes.keys() & {"new", "text"}:
        _replace_mentions(connection, latest)
    return MergeResult(
        new=changes.get("new", 0),
        changed_counts=changes.get("counts", 0),
        changed_text=changes.get("text", 0),
        changed_details=changes.get("details", 0),
        observations=observations,
    )


def _replace_mentions(connection: duckdb.DuckDBPyConnection, threads: Mapping[int, PreparedThread]) -> None:
    affected = [row[0] for row in connection.execute(_TEXT_CHANGED).fetchall()]
    connection.execute(f"DELETE FROM coin_mentions WHERE thread_id IN ({_TEXT_CHANGED})")
    rows = []
    for thread_id in affected:
        mentions = sorted(threads[thread_id].mentions, key=lambda mention: mention.confidence)
        most_certain = {mention.coin_symbol: mention for mention in mentions}
        rows += [{"thread_id": thread_id, **asdict(mention)} for mention in most_certain.values()]
    if rows:
        connection.execute(f"INSERT INTO coin_mentions BY NAME SELECT * FROM {table(rows, _MENTION)}")


def _sighting(prepared: PreparedThread, seen_at: datetime | Mapping[int, Sighting] | None) -> Sighting | None:
    if prepared.thread.source != "live" or seen_at is None:
        return None
    if isinstance(seen_at, datetime):
        return Sighting(seen_at, seen_at)
    return seen_at.get(prepared.thread.thread_id)


def _row(prepared: PreparedThread, ingested_at: datetime, sighting: Sighting | None) -> dict[str, Any]:
    thread = prepared.thread
    return vars(thread) | {
        "op_text": thread.op_html,
        "op_text_clean": None if thread.op_html is None else prepared.text,
        "extra": thread.extra or None,
        "general": prepared.general,
        "spam_score": prepared.spam_score,
        "first_seen_at": sighting and sighting.first,
        "last_seen_at": sighting and sighting.last,
        "ingested_at": ingested_at,
    }


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")
