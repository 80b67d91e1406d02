"""Table ``thread_fates``: threads that left the catalogue.

A row is one thread. Its ``fate``:

- ``archived``: it dropped off the catalogue and is still in the board's archive.
- ``missing once``: it was missing from both lists once; this only leads to a second check.
- ``deleted``: it was missing from both lists twice, so its pictures are purged.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from bizcharts_pipeline.warehouse.values import literal, table

Fate = Literal["archived", "missing once", "deleted"]

THREAD_DELETED = "the board deleted the thread"  # the reason in ``thumbnails``

# A catalogue with an unreadable entry may hold any thread; a response "not modified" holds no catalogue.
_UNDECIDED = """
SELECT t.thread_id, f.thread_id IS NOT NULL AS missed
FROM thread_ops AS t LEFT JOIN thread_fates AS f ON f.thread_id = t.thread_id
WHERE t.last_seen_at >= {since} AND t.last_seen_at < {left_before}
  AND t.last_seen_at < (SELECT max(snapshot_at) - to_seconds({settling}) FROM catalog_snapshots)
  AND t.last_seen_at < (SELECT max(snapshot_at) FROM catalog_snapshots WHERE rejected_threads = 0 AND NOT not_modified)
  AND (f.thread_id IS NULL OR f.fate = 'missing once' AND f.decided_at <= {left_before})
ORDER BY t.thread_id
"""
_RETURNED = """
SELECT f.thread_id FROM thread_fates AS f JOIN thread_ops AS t ON t.thread_id = f.thread_id
WHERE t.last_seen_at > f.decided_at
"""


def undecided_threads(
    connection: duckdb.DuckDBPyConnection, *, since: datetime, now: datetime, settling: timedelta
) -> dict[int, bool]:
    """Read from the database the threads that left the catalogue and may have been deleted, each with whether it was
    missing once before.

    They were last seen since ``since``, and at least ``settling`` before ``now`` and the newest poll; at least one
    later catalogue was readable completely. Threads missing once before were so at least ``settling`` ago.
    """
    sql = _UNDECIDED.format(
        since=literal(since), left_before=literal(now - settling), settling=int(settling.total_seconds())
    )
    return dict(connection.execute(sql).fetchall())


def record_fates(connection: duckdb.DuckDBPyConnection, fates: Mapping[int, Fate], decided_at: datetime) -> None:
    """Store what became of threads that left the catalogue: archived, missing once, or deleted.

    A thread that is archived or deleted stays so. Call it inside :meth:`Database.write`.
    """
    rows = table(
        [{"thread_id": thread_id, "fate": fate} for thread_id, fate in fates.items()],
        {"thread_id": "BIGINT", "fate": "VARCHAR"},
    )
    connection.execute(
        f"DELETE FROM thread_fates WHERE fate = 'missing once' AND thread_id IN (SELECT thread_id FROM {rows})"
    )
    connection.execute(
        f"INSERT INTO thread_fates BY NAME SELECT *, {literal(decided_at)} AS decided_at FROM {rows} "
        "WHERE thread_id NOT IN (SELECT thread_id FROM thread_fates)"
    )


def returned_threads(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Read from the database the threads that were seen on the board after their fate was recorded."""
    return [thread_id for (thread_id,) in connection.execute(_RETURNED).fetchall()]


def forget_returned(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete from the database the fates of threads that came back, so that their purged pictures are fetched again.

    Call it inside :meth:`Database.write`.
    """
    connection.execute(
        f"DELETE FROM thumbnails WHERE status = 'purged' AND reason = {literal(THREAD_DELETED)} "
        f"AND thread_id IN ({_RETURNED})"
    )
    connection.execute(f"DELETE FROM thread_fates WHERE thread_id IN ({_RETURNED})")
