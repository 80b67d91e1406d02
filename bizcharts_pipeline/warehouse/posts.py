"""Opening posts as a model scored them, for people to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.values import literal

BOARDS = "https://boards.4chan.org"
MAX_READ_CHARACTERS = 1000  # of a subject or a text

# Posts that the board deleted are not shown again.
_POSTS = """
WITH found AS (
    SELECT t.* FROM thread_ops AS t
    WHERE t.posted_at >= {start} AND t.posted_at < {end} AND {known}
    AND NOT EXISTS (FROM thread_fates AS f WHERE f.thread_id = t.thread_id AND f.fate = 'deleted')
), scores AS (
    SELECT thread_id, score, confidence FROM scored_posts
    WHERE model_version = {model} AND thread_id IN (SELECT thread_id FROM found)
), coins AS (
    SELECT thread_id, list(DISTINCT coin_symbol ORDER BY coin_symbol) AS symbols FROM coin_mentions
    WHERE thread_id IN (SELECT thread_id FROM found) GROUP BY thread_id
)
SELECT t.thread_id, t.posted_at, t.source, left(t.subject, {most_characters}), left(t.op_text_clean, {most_characters}),
       s.score, s.confidence, t.reply_count, t.image_url IS NOT NULL, coalesce(c.symbols, []), count(*) OVER ()
FROM found AS t LEFT JOIN scores AS s USING (thread_id) LEFT JOIN coins AS c USING (thread_id)
ORDER BY abs(s.score) * s.confidence DESC NULLS LAST, t.thread_id LIMIT {most}
"""


def source_link(source: str, thread_id: int, settings: Settings) -> str:
    """Return the address where a stored thread can be read: on the board, or in the archive that it came from."""
    host = settings.warosu_url if source == "warosu" else BOARDS
    return f"{host}/{settings.board}/thread/{thread_id}"


@dataclass(frozen=True)
class Post:
    """One opening post. ``subject`` and ``text`` are as its author wrote them, cut at 1,000 characters."""

    thread_id: int
    posted_at: datetime  # naive UTC
    source: str  # 'live' or 'warosu'
    subject: str | None
    text: str | None
    score: float | None  # -1 to 1; None: the model has not scored it
    confidence: float | None
    replies: int | None
    has_image: bool
    coins: Sequence[str]


@dataclass(frozen=True)
class PostsFound:
    """The most decided posts of a stretch of time, and how many there are in it."""

    posts: tuple[Post, ...]
    total: int


def posts_between(
    connection: duckdb.DuckDBPyConnection,
    start: datetime,
    end: datetime,
    model_version: str,
    most: int,
    as_of: datetime | None = None,
) -> PostsFound:
    """Read from the database the posts made in ``[start, end)`` (naive UTC) as ``model_version`` scored them, the most
    decided first.

    At most ``most``; of those whose text was held here by ``as_of``.
    """
    rows = connection.execute(
        _POSTS.format(
            start=literal(start),
            end=literal(end),
            model=literal(model_version),
            known="TRUE" if as_of is None else f"t.text_known_at <= {literal(as_of)}",
            most_characters=MAX_READ_CHARACTERS,
            most=int(most),
        )
    ).fetchall()
    return PostsFound(tuple(Post(*row[:-1]) for row in rows), rows[0][-1] if rows else 0)
