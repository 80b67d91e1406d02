"""Previews of tables for run metadata. They hold no post's text, because Dagster keeps metadata for ever."""

from typing import Any, NamedTuple

import duckdb

from bizcharts_pipeline.warehouse.as_of import coin_board
from bizcharts_pipeline.warehouse.values import literal


class Preview(NamedTuple):
    """Column names and rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


_THREADS = """
SELECT thread_id AS thread, strftime(posted_at, '%H:%M') AS posted, reply_count AS replies, image_count AS images,
       coalesce(general, '') AS general, round(spam_score, 2) AS spam
FROM thread_ops WHERE last_seen_at = (SELECT max(last_seen_at) FROM thread_ops)
ORDER BY reply_count DESC NULLS LAST, thread_id LIMIT {limit}
"""

_SCORES = """
SELECT thread_id AS thread, round(p_bearish, 2) AS bearish, round(p_neutral, 2) AS neutral,
       round(p_bullish, 2) AS bullish, round(score, 2) AS score, round(confidence, 2) AS confidence
FROM scored_posts
WHERE model_version = {model}
AND scored_at = (SELECT max(scored_at) FROM scored_posts WHERE model_version = {model})
ORDER BY abs(score) DESC, thread_id LIMIT {limit}
"""


def preview(connection: duckdb.DuckDBPyConnection, sql: str, limit: int) -> Preview:
    """Read the first ``limit`` rows of ``sql``, which has the placeholder ``{limit}``, from the database."""
    return _read(connection, sql.format(limit=int(limit)))


def busiest_threads(connection: duckdb.DuckDBPyConnection, limit: int = 10) -> Preview:
    """Read from the database the threads of the newest catalogue with the most replies."""
    return preview(connection, _THREADS, limit)


def strongest_scores(connection: duckdb.DuckDBPyConnection, model_version: str, limit: int = 10) -> Preview:
    """Read from the database the posts with the most extreme scores of a model's newest scoring run."""
    return _read(connection, _SCORES.format(model=literal(model_version), limit=int(limit)))


def most_mentioned_coins(connection: duckdb.DuckDBPyConnection, limit: int = 15) -> Preview:
    """Read today's coins by mentions from the database."""
    columns = ["coin", "score", "lo", "hi", "mentions", "n_eff"]
    return Preview(
        columns,
        [
            (
                coin.coin_symbol,
                *(None if figure is None else round(figure, 2) for figure in (coin.score, coin.lo, coin.hi)),
                coin.mentions,
                round(coin.n_eff, 1),
            )
            for coin in coin_board(connection, "day")[:limit]
        ],
    )


def _read(connection: duckdb.DuckDBPyConnection, sql: str) -> Preview:
    cursor = connection.execute(sql)
    return Preview([column[0] for column in cursor.description or []], cursor.fetchall())
