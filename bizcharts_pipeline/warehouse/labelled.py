"""Labelled and gold threads, whose data is exempt from retention."""

from collections.abc import Collection
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.values import table


def labelled_threads(ledger: Collection[int] = ()) -> str:
    """Return SQL that selects from the database the ``thread_id`` of every thread that is gold, labelled or skipped, by
    a person or a model.

    ``ledger`` holds the threads of the label ledger, which is ahead of the database.
    """
    return (
        "SELECT thread_id FROM training_labels UNION SELECT thread_id FROM auto_labels "
        f"UNION SELECT thread_id FROM gold_split UNION SELECT thread_id FROM {as_table(ledger)}"
    )


def stored_gold(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str, datetime]]:
    """Read the gold posts from the database, the rows of ``gold_split``: thread, period, time of freezing; ordered by
    thread.
    """
    return connection.execute("SELECT thread_id, period, frozen_at FROM gold_split ORDER BY thread_id").fetchall()


def times_of_posts(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> dict[int, datetime]:
    """Read from the database when each of ``threads`` was posted (naive UTC); those without a stored post are left
    out.
    """
    rows = connection.execute(f"SELECT thread_id, posted_at FROM thread_ops JOIN {as_table(threads)} USING (thread_id)")
    return dict(rows.fetchall())


def as_table(threads: Collection[int]) -> str:
    """Return ``threads`` as a SQL sub-query with the column ``thread_id``."""
    return table([{"thread_id": thread_id} for thread_id in threads], {"thread_id": "BIGINT"})
