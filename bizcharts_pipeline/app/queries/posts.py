"""The opening posts behind an hour's reading."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.app.queries.index import HOUR
from bizcharts_pipeline.warehouse.values import literal

MAX_POSTS = 100
MAX_READ_CHARACTERS = 1000  # of a text; less is shown

# Posts that the board deleted are not shown again.
_POSTS = """
WITH found AS (
    SELECT t.* FROM thread_ops AS t
    WHERE t.posted_at >= {start} AND t.posted_at < {end} AND {known}
    AND NOT EXISTS (FROM thread_fates AS f WHERE f.thread_id = t.thread_id AND f.fate = 'deleted')
), scores AS (
    SELECT thread_id, score, confidence FROM scored_posts
    WHERE model_version = {model} AND thread_id IN (SELECT thread_id FROM found)
)
SELECT t.thread_id, t.posted_at, t.source, left(t.subject, {most_characters}), left(t.op_text_clean, {most_characters}),
       s.score, s.confidence, t.reply_count, t.image_url IS NOT NULL,
       (SELECT coalesce(list(DISTINCT m.coin_symbol ORDER BY m.coin_symbol), [])
        FROM coin_mentions AS m WHERE m.thread_id = t.thread_id),
       count(*) OVER ()
FROM found AS t LEFT JOIN scores AS s USING (thread_id)
ORDER BY abs(s.score) * s.confidence DESC NULLS LAST, t.thread_id LIMIT {most}
"""


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
    coins: tuple[str, ...]


@dataclass(frozen=True)
class HourPosts:
    """The most decided posts of an hour, and how many there were."""

    posts: tuple[Post, ...]
    total: int


@once_per_file
def posts_of_hour(
    connection: duckdb.DuckDBPyConnection, hour: datetime, model_version: str, as_of: datetime | None
) -> HourPosts:
    """Return the posts made in the hour that begins at ``hour`` (naive UTC), as ``model_version`` scored them; at most
    :data:`MAX_POSTS`."""
    rows = connection.execute(
        _POSTS.format(
            start=literal(hour),
            end=literal(hour + HOUR),
            model=literal(model_version),
            known="TRUE" if as_of is None else f"t.text_known_at <= {literal(as_of)}",
            most_characters=MAX_READ_CHARACTERS,
            most=MAX_POSTS,
        )
    ).fetchall()
    return HourPosts(tuple(Post(*row[:-2], coins=tuple(row[-2])) for row in rows), rows[0][-1] if rows else 0)
