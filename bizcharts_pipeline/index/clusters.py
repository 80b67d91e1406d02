"""Assignment of posts to near-duplicate clusters (``thread_ops.cluster_id``)."""

from dataclasses import replace

import duckdb
import numpy as np

from bizcharts_pipeline.text.duplicates import MEMORY, Opening, assign
from bizcharts_pipeline.warehouse.database import Database

BATCH = 5_000  # posts at a time

# Formatted with numbers only.
_FIRST_UNASSIGNED = """
SELECT epoch_us(min(posted_at)) FROM thread_ops WHERE cluster_id IS NULL AND posted_at >
make_timestamp({after})
"""
_OPENINGS = """
SELECT thread_id, epoch_us(posted_at), concat_ws(chr(10), subject, op_text_clean), image_md5, cluster_id
FROM thread_ops WHERE posted_at > make_timestamp({after}) AND posted_at <= make_timestamp({until})
ORDER BY posted_at, thread_id
"""
_BATCH_END = """
SELECT epoch_us(max(posted_at)) FROM (
    SELECT posted_at FROM thread_ops WHERE posted_at > make_timestamp({after}) ORDER BY posted_at LIMIT
    {batch})
"""
_WRITE = """
MERGE INTO thread_ops o USING assigned a ON o.thread_id = a.thread_id
WHEN MATCHED THEN UPDATE SET cluster_id = a.cluster_id
"""


def assign_clusters(database: Database, batch: int = BATCH) -> int:
    """Assign a cluster of near-duplicates, which the index counts once, to every post without one, and update later
    posts affected by that; return the number of changes.

    A post that is found late may be the original of already assigned posts, so all posts within 48 hours of a change
    are processed again. The result does not depend on the order in which posts were found.
    """
    changed = 0
    until, unsettled = -1, False
    while True:
        with database.read() as connection:
            front = _following(connection, until) if unsettled else _unassigned(connection, after=until)
            if front is None:
                return changed
            until = _number(connection, _BATCH_END.format(after=front - 1, batch=batch)) or front
            openings = _load(connection, front - 1 - MEMORY, until)
        fresh = [replace(o, cluster=None) if o.posted_at >= front else o for o in openings]
        moved = {o.thread_id: c for o, c in zip(openings, assign(fresh), strict=True) if o.cluster != c}
        if moved:
            with database.write() as connection:
                _write(connection, moved)
        changed += len(moved)
        # Changes in the last 48 hours may affect the following posts; otherwise skip to the next unassigned post.
        unsettled = any(o.thread_id in moved and o.posted_at > until - MEMORY for o in openings)


def _load(connection: duckdb.DuckDBPyConnection, after: int, until: int) -> list[Opening]:
    rows = connection.execute(_OPENINGS.format(after=after, until=until)).fetchall()
    return [Opening(*row) for row in rows]


def _write(connection: duckdb.DuckDBPyConnection, clusters: dict[int, int]) -> None:
    columns = {
        "thread_id": np.array([*clusters.keys()], np.int64),
        "cluster_id": np.array([*clusters.values()], np.int64),
    }
    connection.register("assigned", columns)
    connection.execute(_WRITE)


def _unassigned(connection: duckdb.DuckDBPyConnection, after: int) -> int | None:
    return _number(connection, _FIRST_UNASSIGNED.format(after=after))


def _following(connection: duckdb.DuckDBPyConnection, until: int) -> int | None:
    return _number(connection, _BATCH_END.format(after=until, batch=1))


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int | None:
    row = connection.execute(query).fetchone()
    return None if row is None or row[0] is None else int(row[0])
