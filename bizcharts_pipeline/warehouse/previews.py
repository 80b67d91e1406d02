"""The few newest rows of a table, for people to look at. No post's text: what is shown is kept by the UI for ever."""

from typing import Any, NamedTuple

import duckdb

from bizcharts_pipeline.warehouse.as_of import coin_board


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
FROM scored_posts WHERE scored_at = (SELECT max(scored_at) FROM scored_posts)
ORDER BY abs(score) DESC, thread_id LIMIT {limit}
"""


def preview(connection: duckdb.DuckDBPyConnection, sql: str, limit: int) -> Preview:
    """The first ``limit`` rows of ``sql``, which has the place ``{limit}``."""
    cursor = connection.execute(sql.format(limit=int(limit)))
    return Preview([column[0] for column in cursor.description or []], cursor.fetchall())


def busiest_threads(connection: duckdb.DuckDBPyConnection, limit: int = 10) -> Preview:
    """The threads of the newest catalogue with the most replies."""
    return preview(connection, _THREADS, limit)


def strongest_scores(connection: duckdb.DuckDBPyConnection, limit: int = 10) -> Preview:
    """The most decided posts of the newest scoring pass."""
    return preview(connection, _SCORES, limit)


def most_mentioned_coins(connection: duckdb.DuckDBPyConnection, limit: int = 15) -> Preview:
    """Today's coins by mentions."""
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
