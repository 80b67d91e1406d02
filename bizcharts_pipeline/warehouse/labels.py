"""Tables ``training_labels`` and ``gold_split``: people's labels, copied from the label ledger."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import duckdb

from bizcharts_pipeline.warehouse.previews import Preview, preview
from bizcharts_pipeline.warehouse.values import literal, table

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

# A picture that is not stored cannot be learned from. As where posts are read for training, the text of a post that is
# known only from its labels is the labels'. Of the posts, a big table, only the labelled ones are read.
_LEARNABLE = """
WITH newest AS (
    FROM training_labels
    QUALIFY row_number() OVER (PARTITION BY thread_id, labeler_id ORDER BY labeled_at DESC) = 1
), votes AS (
    SELECT thread_id, count(*) AS votes, max(count(*)) OVER (PARTITION BY thread_id) AS most
    FROM newest WHERE sentiment_rating IS NOT NULL GROUP BY thread_id, sentiment_rating
), rated AS (
    SELECT thread_id, bool_or(concat(subject_snapshot, text_snapshot) <> '') AS has_text FROM training_labels
    WHERE thread_id IN (SELECT thread_id FROM votes GROUP BY thread_id HAVING count_if(votes = most) = 1)
      AND thread_id NOT IN (SELECT thread_id FROM gold_split)
      AND thread_id NOT IN (SELECT thread_id FROM training_labels WHERE flag = 'illegal')
    GROUP BY thread_id
), known AS (
    SELECT o.thread_id, concat(o.subject, o.op_text_clean) <> '' AS has_text
    FROM rated JOIN thread_ops AS o ON o.thread_id = rated.thread_id
)
SELECT l.thread_id FROM rated AS l LEFT JOIN known AS t ON t.thread_id = l.thread_id WHERE {has_content}
"""
_HAS_TEXT = "coalesce(t.has_text, l.has_text)"
_HAS_PICTURE = "l.thread_id IN (SELECT thread_id FROM thumbnails WHERE kind = 'thumbnail' AND status = 'stored')"

Row = tuple[Any, ...]


def stored_labels(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """Read people's labels from the database: the rows of ``training_labels``, with the columns ``LABEL_COLUMNS``."""
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
    """Store ``posts`` (thread, period, time of freezing) as the whole content of ``gold_split``.

    Call it inside :meth:`Database.write`.
    """
    values = table([dict(zip(_GOLD_COLUMNS, post, strict=True)) for post in posts], _GOLD_COLUMNS)
    names = ", ".join(_GOLD_COLUMNS)
    connection.execute("DELETE FROM gold_split")
    connection.execute(f"INSERT INTO gold_split ({names}) SELECT {names} FROM {values}")


def labellers(connection: duckdb.DuckDBPyConnection, limit: int = 20) -> Preview:
    """Read from the database each labeller's number of posts by class; only the newest label of a post counts."""
    return preview(connection, _NEWEST, limit)


def median_seconds(connection: duckdb.DuckDBPyConnection, at_most: float) -> float | None:
    """Read from the database the median seconds per label; longer ones than ``at_most`` do not count. ``None`` if none
    was timed.
    """
    row = connection.execute(
        f"SELECT median(seconds) FROM training_labels WHERE seconds <= {literal(at_most)}"
    ).fetchone()
    return row[0] if row else None


def learnable_posts(connection: duckdb.DuckDBPyConnection, *, by_text: bool, by_picture: bool) -> set[int]:
    """Read from the database the posts that have a majority among people's ratings, are not gold, and have a text, or a
    stored picture, for a model that learns by one of them or by either.

    Near-duplicates of gold are among them; a training leaves those out.
    """
    has_content = " OR ".join([_HAS_TEXT] * by_text + [_HAS_PICTURE] * by_picture)
    sql = _LEARNABLE.format(has_content=has_content)
    return {thread_id for (thread_id,) in connection.execute(sql).fetchall()}


def invalid_labels(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Read from the database labels that are neither 1 to 3 nor skipped, or that are stored twice; at most 20."""
    return [row[0] for row in connection.execute(_INVALID).fetchall()]


def _batches(rows: Collection[Row]) -> list[list[Row]]:
    left = iter(rows)
    return list(iter(lambda: list(islice(left, _BATCH)), []))
