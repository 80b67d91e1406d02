"""Tables ``training_labels`` and ``gold_split``: people's labels, copied from the label ledger."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import duckdb

from bizcharts_pipeline.warehouse.previews import Preview, preview
from bizcharts_pipeline.warehouse.values import table

# In the order of the table and of the fields of a label.
LABEL_COLUMNS = {
    "thread_id": "BIGINT",
    "sentiment_rating": "INTEGER",
    "labeler_id": "VARCHAR",
    "labeled_at": "TIMESTAMP",
    "seconds": "DOUBLE",
    "skipped": "BOOLEAN",
    "notes": "VARCHAR",
    "text_snapshot": "VARCHAR",
    "image_url_snapshot": "VARCHAR",
    "origin": "VARCHAR",
    "posted_at": "TIMESTAMP",
    "subject_snapshot": "VARCHAR",
    "flag": "VARCHAR",
    "session": "VARCHAR",
    "stratum": "VARCHAR",
    "probability": "DOUBLE",
    "suggestion": "VARCHAR",
    "image_visible": "BOOLEAN",
}
KEY = ("thread_id", "labeler_id", "labeled_at", "origin")
_GOLD_COLUMNS = {"thread_id": "BIGINT", "period": "VARCHAR", "frozen_at": "TIMESTAMP"}
_BATCH = 5_000

_NAMES = ", ".join(LABEL_COLUMNS)
_DELETE = f"""
DELETE FROM training_labels AS t USING {{keys}} AS k
WHERE {" AND ".join(f"t.{name} IS NOT DISTINCT FROM k.{name}" for name in KEY)}
"""

_INSERT = f"INSERT INTO training_labels ({_NAMES}) SELECT {_NAMES} FROM {{rows}}"

_NEWEST = """
SELECT labeler_id AS labeller, count(*) AS posts, count_if(sentiment_rating = 1) AS bearish,
       count_if(sentiment_rating = 2) AS neutral, count_if(sentiment_rating = 3) AS bullish,
       count_if(skipped) AS skipped, strftime(max(labeled_at), '%Y-%m-%d %H:%M') AS newest
FROM (
    FROM training_labels
    QUALIFY row_number() OVER (PARTITION BY thread_id, labeler_id ORDER BY labeled_at DESC) = 1
) GROUP BY labeler_id ORDER BY posts DESC, labeller LIMIT {limit}
"""

_INVALID = """
SELECT thread_id || ' by ' || labeler_id || ' at ' || labeled_at FROM training_labels
WHERE NOT coalesce(sentiment_rating BETWEEN 1 AND 3, skipped) OR (skipped AND sentiment_rating IS NOT NULL)
UNION ALL
SELECT thread_id || ' by ' || labeler_id || ' at ' || labeled_at || ' twice' FROM training_labels
GROUP BY thread_id, labeler_id, labeled_at, origin HAVING count(*) > 1
ORDER BY 1 LIMIT 20
"""

Row = tuple[Any, ...]


def stored_labels(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the rows of ``training_labels``, with the columns ``LABEL_COLUMNS``."""
    return connection.execute(f"SELECT {_NAMES} FROM training_labels").fetchall()


def label_changes(keys: Collection[Row], rows: Sequence[Row]) -> list[str]:
    """Return SQL statements that delete the labels with one of ``keys`` (the columns ``KEY``) and insert ``rows``.

    They are built before the database is opened, because that takes seconds for 100,000 labels.
    """
    of_key = {name: LABEL_COLUMNS[name] for name in KEY}
    deletions = [
        _DELETE.format(keys=table([dict(zip(KEY, key, strict=True)) for key in batch], of_key))
        for batch in _batches(keys)
    ]
    insertions = [
        _INSERT.format(rows=table([dict(zip(LABEL_COLUMNS, row, strict=True)) for row in batch], LABEL_COLUMNS))
        for batch in _batches(rows)
    ]
    return deletions + insertions


def replace_gold(connection: duckdb.DuckDBPyConnection, posts: Sequence[tuple[int, str, datetime]]) -> None:
    """Replace the content of ``gold_split`` by ``posts`` (thread, period, time of freezing).

    Call it inside :meth:`Database.write`.
    """
    values = table([dict(zip(_GOLD_COLUMNS, post, strict=True)) for post in posts], _GOLD_COLUMNS)
    names = ", ".join(_GOLD_COLUMNS)
    connection.execute("DELETE FROM gold_split")
    connection.execute(f"INSERT INTO gold_split ({names}) SELECT {names} FROM {values}")


def labellers(connection: duckdb.DuckDBPyConnection, limit: int = 20) -> Preview:
    """Return each labeller's number of posts by class; only the newest label of a post counts."""
    return preview(connection, _NEWEST, limit)


def invalid_labels(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return labels that are neither 1 to 3 nor skipped, or that are stored twice; at most 20."""
    return [row[0] for row in connection.execute(_INVALID).fetchall()]


def _batches(rows: Collection[Row]) -> list[list[Row]]:
    left = iter(rows)
    return list(iter(lambda: list(islice(left, _BATCH)), []))
