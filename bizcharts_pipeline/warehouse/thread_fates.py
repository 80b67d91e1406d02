"""What became of the threads that left the catalogue.

A row of ``thread_fates`` is one thread. Its ``fate``:

- ``archived``: it sank off the board and can still be read there.
- ``missing once``: it was in no list so far; nothing follows from that but a second look.
- ``deleted``: it was in no list a second time, so its pictures go.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from bizcharts_pipeline.warehouse.values import literal, table

Fate = Literal["archived", "missing once", "deleted"]

THREAD_DELETED = "the board deleted the thread"  # the reason in ``thumbnails``

# A catalogue with an entry that could not be read may hold any thread; an answer "not modified" is no catalogue.
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
    """Return the threads that left the catalogue and may have been deleted, each with whether it was missed before.

    They were last seen since ``since``, and ``settling`` or longer before ``now`` and the newest poll; at least one
    catalogue after that could be read to its last entry. Of those that were missed before, that was as long ago.
    """
    sql = _UNDECIDED.format(
        since=literal(since), left_before=literal(now - settling), settling=int(settling.total_seconds())
    )
    return dict(connection.execute(sql).fetchall())


def record_fates(connection: duckdb.DuckDBPyConnection, fates: Mapping[int, Fate], decided_at: datetime) -> None:
    """Record what became of threads; what was decided before stays. Call it inside :meth:`Database.write`."""
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
    """Return the threads that were seen on the board after their fate was recorded."""
    return [thread_id for (thread_id,) in connection.execute(_RETURNED).fetchall()]


def forget_returned(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the fate from threads that came back, so that their purged pictures wait again.

    Call it inside :meth:`Database.write`.
    """
    connection.execute(
        f"DELETE FROM thumbnails WHERE status = 'purged' AND reason = {literal(THREAD_DELETED)} "
        f"AND thread_id IN ({_RETURNED})"
    )
    connection.execute(f"DELETE FROM thread_fates WHERE thread_id IN ({_RETURNED})")
