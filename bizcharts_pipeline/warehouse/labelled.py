"""Labelled and gold threads, whose data is exempt from retention."""

from collections.abc import Collection
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.values import table


def labelled_threads(ledger: Collection[int] = ()) -> str:
    """Return SQL that selects the ``thread_id`` of every thread that is gold, labelled or skipped, by a person or a
    model.

    ``ledger`` holds the threads of the label ledger, which is ahead of the database.
    """
    return (
        "SELECT thread_id FROM training_labels UNION SELECT thread_id FROM auto_labels "
        f"UNION SELECT thread_id FROM gold_split UNION SELECT thread_id FROM {as_table(ledger)}"
    )


def stored_gold(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str, datetime]]:
    """Return the rows of ``gold_split``: thread, period, time of freezing; ordered by thread."""
    return connection.execute("SELECT thread_id, period, frozen_at FROM gold_split ORDER BY thread_id").fetchall()


def unknown_threads(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> int:
    """Return how many of ``threads`` have no post in the database."""
    rows = connection.execute(
        f"SELECT count(*) FROM {as_table(threads)} WHERE thread_id NOT IN (SELECT thread_id FROM thread_ops)"
    ).fetchall()
    return int(rows[0][0])


def as_table(threads: Collection[int]) -> str:
    """Return ``threads`` as a SQL sub-query with the column ``thread_id``."""
    return table([{"thread_id": thread_id} for thread_id in threads], {"thread_id": "BIGINT"})
