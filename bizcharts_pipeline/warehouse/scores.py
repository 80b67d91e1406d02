"""Table ``scored_posts``: unscored posts, and storing of scores."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.core.rows import FALLBACK, ScoredMention, ScoredPost
from bizcharts_pipeline.warehouse.image_features import ImageFeatures, features_from_row
from bizcharts_pipeline.warehouse.labelled import as_table
from bizcharts_pipeline.warehouse.models import NEVER_CHAMPION, champion
from bizcharts_pipeline.warehouse.pictures import MAX_ATTEMPTS
from bizcharts_pipeline.warehouse.values import literal, table

_POST = {
    "thread_id": "BIGINT",
    "p_bearish": "DOUBLE",
    "p_neutral": "DOUBLE",
    "p_bullish": "DOUBLE",
    "score": "DOUBLE",
    "confidence": "DOUBLE",
    "method": "VARCHAR",
    "waits_for": "VARCHAR",
}
_MENTION = {"thread_id": "BIGINT", "coin_symbol": "VARCHAR", "score": "DOUBLE", "confidence": "DOUBLE"}

# Text and picture are fetched by rowid, so that only the chosen posts' are read.
_POSTS = """
SELECT o.thread_id, coalesce(o.subject, ''), coalesce(o.op_text_clean, ''),
       o.thumbnail_url IS NOT NULL OR o.image_url IS NOT NULL OR o.file_deleted,
       CASE WHEN p.sha256 IN (SELECT hash FROM blocked_images WHERE kind = 'sha256')
              OR o.image_md5 IN (SELECT hash FROM blocked_images WHERE kind = 'md5') THEN 'blocked' ELSE p.status END,
       p.attempts, p.path, p.sha256, p.nsfw, o.posted_at, f.kind, f.perceptual_hash, f.colours, f.ocr_text,
       f.vector, f.extractor
FROM (
    SELECT * FROM thread_ops WHERE rowid IN (
        SELECT rowid FROM thread_ops AS t WHERE {condition} ORDER BY posted_at DESC, thread_id DESC LIMIT {limit}
    )
) AS o
LEFT JOIN thumbnails AS p ON p.thread_id = o.thread_id AND p.kind = 'thumbnail'
LEFT JOIN image_features AS f ON f.sha256 = p.sha256
ORDER BY o.posted_at DESC, o.thread_id DESC
"""
# thread_ops holds only the champion's scores; those of other models are in scored_posts.
_UNSCORED_BY_CHAMPION = "sentiment_model_version IS DISTINCT FROM {version}"
_UNSCORED_BY_ANOTHER = (
    "NOT EXISTS (FROM scored_posts AS s WHERE s.model_version = {version} AND s.thread_id = t.thread_id)"
)
# Equality lets DuckDB skip all row groups without a waiting score.
_SCORED_AND_WAITING = (
    "thread_id IN (SELECT thread_id FROM scored_posts WHERE waits_for = {reason} AND model_version = {version})"
)
_PICTURE_IS_FINAL = (
    "thread_id IN (SELECT thread_id FROM thumbnails WHERE kind = 'thumbnail' "
    f"AND (status <> 'failed' OR attempts >= {MAX_ATTEMPTS}))"
)
_NO_LONGER_WAITED_FOR = (
    "posted_at < {late} AND thread_id IN (SELECT thread_id FROM scored_posts WHERE model_version = {version} "
    f"AND waits_for = 'picture' AND contains(method, {literal(FALLBACK)}))"
)
_FEATURES_ARE_THERE = (
    "thread_id IN (SELECT p.thread_id FROM thumbnails AS p JOIN image_features AS f ON f.sha256 = p.sha256 "
    "WHERE p.kind = 'thumbnail' AND f.kind IS NOT NULL)"
)

_MERGE_POSTS = """
MERGE INTO scored_posts AS t
USING scored AS s
ON t.thread_id = s.thread_id AND t.model_version = {version}
WHEN MATCHED THEN UPDATE SET
    p_bearish = s.p_bearish, p_neutral = s.p_neutral, p_bullish = s.p_bullish,
    score = s.score, confidence = s.confidence, method = s.method, waits_for = s.waits_for, scored_at = {scored_at}
WHEN NOT MATCHED THEN INSERT
    (thread_id, model_version, p_bearish, p_neutral, p_bullish, score, confidence, method, waits_for, scored_at)
    VALUES (s.thread_id, {version}, s.p_bearish, s.p_neutral, s.p_bullish, s.score, s.confidence, s.method,
            s.waits_for, {scored_at})
"""
_MARK_THREADS = """
MERGE INTO thread_ops AS t
USING scored AS s
ON t.thread_id = s.thread_id
WHEN MATCHED THEN UPDATE SET
    sentiment_score = s.score, sentiment_confidence = s.confidence, sentiment_model_version = {version}
"""
# A score that waits for the features of a picture counts as final: it is by the model's text part, and the pictures of
# most old posts are never fetched.
_FINAL = "(s.waits_for IS NULL OR s.waits_for = 'features')"
# Of near-duplicates only the first counts.
_COUNTED = f"""s.model_version = {{version}} AND {_FINAL}
  AND NOT t.sticky AND t.capcode IS NULL AND coalesce(t.spam_score, 0) < {{spam_cut}}
  AND coalesce(t.general, '') NOT IN ({{generals}}) AND (t.cluster_id IS NULL OR t.cluster_id = t.thread_id)"""
# A random part of a busy day, the same at each reading.
_TEXTS = """
WITH found AS (
    SELECT t.thread_id, t.posted_at, t.subject, t.op_text_clean, s.p_bearish, s.p_neutral, s.p_bullish, s.confidence
    FROM thread_ops t JOIN scored_posts s USING (thread_id)
    WHERE t.posted_at >= {start} AND t.posted_at < {end} AND {counted}
    QUALIFY
      row_number() OVER (PARTITION BY t.posted_at::DATE ORDER BY md5_number_lower(t.thread_id::VARCHAR)) <= {most}
)
SELECT thread_id, posted_at, concat_ws(chr(10), nullif(subject, ''), op_text_clean), p_bearish, p_neutral, p_bullish,
       confidence
FROM found ORDER BY posted_at, thread_id
"""
# No score of another model in the champion's place counts.
_CERTAIN = """
SELECT s.thread_id, s.p_bearish, s.p_neutral, s.p_bullish
FROM scored_posts s JOIN thread_ops t USING (thread_id)
WHERE {counted}
  AND greatest(s.p_bearish, s.p_neutral, s.p_bullish) >= {threshold} AND NOT contains(s.method, {fallback})
ORDER BY md5_number_lower(s.thread_id::VARCHAR) LIMIT {limit}
"""
_PROBABILITIES = """
SELECT s.thread_id, s.p_bearish, s.p_neutral, s.p_bullish
FROM {threads} AS w JOIN scored_posts s ON s.thread_id = w.thread_id WHERE s.model_version = {version}
"""
_SAID = f"""
SELECT t.thread_id, t.posted_at, s.p_bearish, s.p_neutral, s.p_bullish
FROM {{threads}} AS w JOIN thread_ops t ON t.thread_id = w.thread_id
JOIN scored_posts s ON s.thread_id = w.thread_id
WHERE s.model_version = {{version}} AND {_FINAL} AND t.posted_at >= {{start}} AND t.posted_at < {{end}}
ORDER BY t.thread_id
"""


@dataclass(frozen=True)
class ScoredText:
    """An opening post's subject and text, with the probabilities that a model gave it."""

    thread_id: int
    posted_at: datetime  # naive UTC
    text: str
    probabilities: tuple[float, float, float]  # bearish, neutral, bullish
    confidence: float


@dataclass(frozen=True)
class PictureRow:
    """The row of a post's thumbnail; ``status`` is ``None`` if it was not fetched yet."""

    status: str | None
    given_up: bool  # failed, and not tried again
    path: str | None
    sha256: str | None
    nsfw: float | None
    features: ImageFeatures | None


@dataclass(frozen=True)
class WaitingPost:
    """A post that waits for a score; missing text is empty."""

    thread_id: int
    subject: str
    text: str
    picture: PictureRow | None  # None: the post has none
    posted_at: datetime  # naive UTC


def unscored_posts(connection: duckdb.DuckDBPyConnection, model_version: str, limit: int) -> list[WaitingPost]:
    """Read from the database at most ``limit`` posts that ``model_version`` has not scored, newest first.

    For the champion, a post with changed text counts as unscored; for another model it does not.
    """
    condition = _UNSCORED_BY_CHAMPION if _is_champion(connection, model_version) else _UNSCORED_BY_ANOTHER
    return _posts(connection, condition.format(version=literal(model_version)), limit)


def reasons_to_score_again(connection: duckdb.DuckDBPyConnection, model_version: str) -> set[str]:
    """Read from the database what scores of ``model_version`` wait for."""
    waiting = f"model_version = {literal(model_version)} AND waits_for IS NOT NULL"
    rows = connection.execute(f"SELECT DISTINCT waits_for FROM scored_posts WHERE {waiting}").fetchall()
    return {reason for (reason,) in rows}


def posts_of(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> list[WaitingPost]:
    """Read the posts of ``threads`` from the database, as far as they are there, newest first."""
    if not threads:
        return []
    condition = f"thread_id IN (SELECT thread_id FROM {as_table(threads)})"
    return _posts(connection, condition, len(threads))


def probabilities_of(
    connection: duckdb.DuckDBPyConnection, model_version: str, threads: Collection[int]
) -> dict[int, tuple[float, float, float]]:
    """Read from the database the probabilities that a model gave to those of ``threads`` that it has scored."""
    if not threads:
        return {}
    sql = _PROBABILITIES.format(threads=as_table(threads), version=literal(model_version))
    return {thread: (a, b, c) for thread, a, b, c in connection.execute(sql).fetchall()}


def any_unscored_since(connection: duckdb.DuckDBPyConnection, model_version: str, since: datetime) -> bool:
    """Whether a post in the database made after ``since`` (naive UTC) has no score by a model that need not be the
    champion.
    """
    sql = f"posted_at > {literal(since)} AND {_UNSCORED_BY_ANOTHER.format(version=literal(model_version))}"
    row = connection.execute(f"SELECT count(*) FROM (FROM thread_ops AS t WHERE {sql} LIMIT 1)").fetchone()
    return bool(row and row[0])


def posts_to_score_again(
    connection: duckdb.DuckDBPyConnection, model_version: str, waits_for: str, limit: int, late: datetime
) -> list[WaitingPost]:
    """Read from the database at most ``limit`` posts whose score of ``model_version`` waits for this, newest first.

    Of those that wait for their picture, only the ones whose picture is fetched or will not be, and those made before
    ``late`` that another model has scored; for its features, only the ones that have them now.
    """
    condition = _SCORED_AND_WAITING.format(reason=literal(waits_for), version=literal(model_version))
    if waits_for == "picture":
        condition += f" AND ({_PICTURE_IS_FINAL} OR {_NO_LONGER_WAITED_FOR})".format(
            version=literal(model_version), late=literal(late)
        )
    if waits_for == "features":
        condition += f" AND {_FEATURES_ARE_THERE}"
    return _posts(connection, condition, limit)


def save_scores(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    posts: Sequence[ScoredPost],
    mentions: Sequence[ScoredMention],
    scored_at: datetime,
) -> None:
    """Store the scores of ``model_version`` for ``posts``.

    ``mentions`` are all per-coin scores of the posts. ``thread_ops`` gets the scores if the model is the champion. Call
    it inside :meth:`Database.write`.
    """
    version = literal(model_version)
    latest = {post.thread_id: asdict(post) for post in posts}
    connection.execute(f"CREATE OR REPLACE TEMP TABLE scored AS SELECT * FROM {table(latest.values(), _POST)}")
    connection.execute(_MERGE_POSTS.format(version=version, scored_at=literal(scored_at)))
    connection.execute(
        f"DELETE FROM scored_mentions WHERE model_version = {version} AND thread_id IN (SELECT thread_id FROM scored)"
    )
    by_coin = {(mention.thread_id, mention.coin_symbol): asdict(mention) for mention in mentions}
    if by_coin:
        rows = table(by_coin.values(), _MENTION)
        connection.execute(f"INSERT INTO scored_mentions BY NAME SELECT *, {version} AS model_version FROM {rows}")
    if _is_champion(connection, model_version):
        connection.execute(_MARK_THREADS.format(version=version))


def scored_texts(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    start: datetime,
    end: datetime,
    *,
    most_a_day: int,
    spam_cut: float,
    excluded_generals: Sequence[str],
) -> list[ScoredText]:
    """Read from the database the posts made in ``[start, end)`` (naive UTC) with a final score by ``model_version``, by
    time.

    Of each day at most ``most_a_day``, drawn at random. Left out, as from the index: pinned posts, posts by staff, of
    an excluded general, and spam; and near-duplicates of an earlier post.
    """
    sql = _TEXTS.format(
        start=literal(start),
        end=literal(end),
        counted=_counted(model_version, spam_cut, excluded_generals),
        most=int(most_a_day),
    )
    rows = connection.execute(sql).fetchall()
    return [ScoredText(thread, at, text, (a, b, c), certainty) for thread, at, text, a, b, c, certainty in rows]


def certain_posts(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    threshold: float,
    *,
    spam_cut: float,
    excluded_generals: Sequence[str],
    limit: int,
) -> dict[int, tuple[float, float, float]]:
    """Read from the database the probabilities of at most ``limit`` posts, drawn at random, of which the model gave one
    class ``threshold`` or more.

    Left out are the posts that :func:`scored_texts` leaves out.
    """
    sql = _CERTAIN.format(
        counted=_counted(model_version, spam_cut, excluded_generals),
        threshold=literal(threshold),
        fallback=literal(FALLBACK),
        limit=int(limit),
    )
    return {thread: (a, b, c) for thread, a, b, c in connection.execute(sql).fetchall()}


def scores_of(
    connection: duckdb.DuckDBPyConnection, model_version: str, threads: Collection[int], start: datetime, end: datetime
) -> dict[int, tuple[datetime, tuple[float, float, float]]]:
    """Read from the database (posted at, probabilities) of those of ``threads`` made in ``[start, end)`` with a final
    score.
    """
    if not threads:
        return {}
    sql = _SAID.format(
        threads=as_table(threads),
        version=literal(model_version),
        start=literal(start),
        end=literal(end),
    )
    return {thread: (at, (a, b, c)) for thread, at, a, b, c in connection.execute(sql).fetchall()}


def first_scores_by_subject(
    connection: duckdb.DuckDBPyConnection, words: Sequence[str], as_of: datetime | None = None
) -> list[tuple[str, datetime, datetime, float]]:
    """Read from the database (subject, posted at, knowable at, score) of the posts whose subject has one of ``words``
    in any case.

    The score is the first that the post was given, without those by models that never were the champion; it is
    knowable when its text was, and its model trained. Times are naive UTC.
    """
    named = " OR ".join(f"contains(lower(o.subject), {literal(word)})" for word in words)
    sql = f"""
        SELECT o.subject, o.posted_at, greatest(o.posted_at, o.text_known_at, m.trained_at), s.score
        FROM scored_posts s JOIN thread_ops o USING (thread_id) LEFT JOIN model_versions m USING (model_version)
        WHERE ({named}) AND {"TRUE" if as_of is None else f"s.scored_at <= {literal(as_of)}"}
          AND s.model_version NOT IN ({NEVER_CHAMPION})
        QUALIFY row_number() OVER (PARTITION BY s.thread_id ORDER BY s.scored_at, s.model_version) = 1
        ORDER BY o.posted_at
    """
    return connection.execute(sql).fetchall()


def _posts(connection: duckdb.DuckDBPyConnection, condition: str, limit: int) -> list[WaitingPost]:
    rows = connection.execute(_POSTS.format(condition=condition, limit=int(limit))).fetchall()
    return [
        WaitingPost(
            thread_id,
            subject,
            text,
            PictureRow(
                *(status, (attempts or 0) >= MAX_ATTEMPTS, path, sha256, nsfw),
                features_from_row(*found) if found[0] and status != "blocked" else None,
            )
            if has_picture
            else None,
            posted_at,
        )
        for thread_id, subject, text, has_picture, status, attempts, path, sha256, nsfw, posted_at, *found in rows
    ]


def _is_champion(connection: duckdb.DuckDBPyConnection, model_version: str) -> bool:
    present = champion(connection)
    return present is not None and present.model_version == model_version


def _counted(model_version: str, spam_cut: float, excluded_generals: Sequence[str]) -> str:
    """Return the condition that the index counts a post ``t`` with its final score ``s``."""
    generals = ", ".join(map(literal, (*excluded_generals, "-")))
    return _COUNTED.format(version=literal(model_version), spam_cut=literal(spam_cut), generals=generals)
