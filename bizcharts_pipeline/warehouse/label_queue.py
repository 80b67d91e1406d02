"""Selection of posts that people may label, and the labelling queue."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table
from bizcharts_pipeline.warehouse.previews import Preview, preview
from bizcharts_pipeline.warehouse.values import literal, quoted, table

Stratum = Literal["uncertain", "random", "recent", "relabel", "disputed"]

SPAM_CUT = 0.8  # same as the index's

_ASKABLE_POST = f"""
NOT t.sticky AND t.capcode IS NULL AND coalesce(t.spam_score, 0) < {SPAM_CUT}
AND (t.image_md5 IS NULL OR t.image_md5 NOT IN (SELECT hash FROM blocked_images WHERE kind = 'md5'))
AND t.thread_id NOT IN (SELECT thread_id FROM thumbnails WHERE status = 'blocked')
AND t.thread_id NOT IN (SELECT thread_id FROM thread_fates WHERE fate = 'deleted')
"""
# The ticket is a hash, so that a draw is reproducible on any machine.
_ASKABLE = f"""
CREATE OR REPLACE TEMP TABLE askable AS
WITH barred AS (
    SELECT coalesce(t.cluster_id, b.thread_id) AS cluster
    FROM {{barred}} AS b LEFT JOIN thread_ops AS t ON t.thread_id = b.thread_id
), groups AS (
    SELECT coalesce(t.cluster_id, t.thread_id) AS cluster, min(t.thread_id) AS thread_id,
           arg_min(t.posted_at, t.thread_id) AS posted_at
    FROM thread_ops AS t WHERE {_ASKABLE_POST} GROUP BY cluster
)
SELECT cluster, thread_id, posted_at > {{recent_after}} AS recent,
       md5_number_lower(concat({{salt}}, ':', thread_id)) AS ticket
FROM groups WHERE cluster NOT IN (SELECT cluster FROM barred)
"""
_DRAWN = """
CREATE OR REPLACE TEMP TABLE drawn AS
WITH random AS (SELECT thread_id FROM askable ORDER BY ticket, thread_id LIMIT {random}),
recent AS (
    SELECT thread_id FROM askable WHERE recent AND thread_id NOT IN (FROM random)
    ORDER BY ticket, thread_id LIMIT {recent}
)
SELECT 'random' AS stratum, thread_id FROM random UNION ALL SELECT 'recent', thread_id FROM recent
"""
_POOL = """
SELECT thread_id, cluster FROM askable WHERE thread_id NOT IN (SELECT thread_id FROM drawn)
ORDER BY ticket, thread_id LIMIT {pool}
"""
_PROVIDERS_DIFFER = f"""
WITH newest AS (
    SELECT thread_id, provider, label FROM auto_labels WHERE label IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY thread_id, provider ORDER BY labeled_at DESC, model, endpoint, prompt_version) = 1
), differing AS (SELECT thread_id FROM newest GROUP BY thread_id HAVING count(DISTINCT label) > 1)
SELECT t.thread_id, a.cluster
FROM differing AS d
JOIN thread_ops AS t ON t.thread_id = d.thread_id
JOIN askable AS a ON a.cluster = coalesce(t.cluster_id, t.thread_id)
WHERE a.thread_id NOT IN (SELECT thread_id FROM drawn) AND {_ASKABLE_POST}
QUALIFY row_number() OVER (PARTITION BY a.cluster ORDER BY t.thread_id) = 1
ORDER BY a.ticket, t.thread_id LIMIT {{limit}}
"""
_AGAIN = f"""
SELECT t.thread_id, coalesce(t.cluster_id, t.thread_id)
FROM {{wanted}} AS w JOIN thread_ops AS t ON t.thread_id = w.thread_id
WHERE {_ASKABLE_POST}
ORDER BY t.thread_id
"""
_SCORES = """
SELECT thread_id, p_bearish, p_neutral, p_bullish FROM scored_posts
WHERE model_version = {version} AND thread_id IN (FROM {wanted})
"""
_QUEUE = {
    "position": "INTEGER",
    "thread_id": "BIGINT",
    "stratum": "VARCHAR",
    "probability": "DOUBLE",
    "margin": "DOUBLE",
}
_PREVIEW = """
SELECT position, thread_id AS thread, stratum, round(probability, 6) AS probability, round(margin, 3) AS margin
FROM label_queue ORDER BY position LIMIT {limit}
"""


@dataclass(frozen=True)
class Draw:
    """A sample: one post from each group of near-duplicates without labelled, gold, blocked or spam posts.

    All are threads with their clusters. ``random`` is drawn with equal probability from all ``groups``; ``recent``
    likewise from the remaining ``recent_groups``; both in the order of the draw. ``pool`` is a further random sample of
    the rest; ``differing`` are posts that two providers label differently.
    """

    groups: int
    random: dict[int, int]
    recent: dict[int, int]
    recent_groups: int
    pool: dict[int, int]
    differing: dict[int, int]


@dataclass(frozen=True)
class QueuedPost:
    """A row of ``label_queue``. ``probability`` is the inclusion probability; ``None`` if not drawn at random."""

    position: int
    thread_id: int
    stratum: Stratum
    probability: float | None
    margin: float | None


def draw_posts(
    connection: duckdb.DuckDBPyConnection,
    *,
    barred: Collection[int],
    salt: str,
    random: int,
    recent: int,
    recent_after: datetime,
    pool: int,
    differing: int,
) -> Draw:
    """Draw posts for the labelling queue from the unlabelled ones in the database; the same ``salt`` draws the same
    sample from the same posts.

    ``barred`` threads and their near-duplicates are left out; ``random``, ``recent``, ``pool`` and ``differing`` are
    the sizes of the samples.
    """
    connection.execute(_ASKABLE.format(barred=as_table(barred), recent_after=literal(recent_after), salt=quoted(salt)))
    connection.execute(_DRAWN.format(random=int(random), recent=int(recent)))
    drawn = connection.execute(
        "SELECT d.stratum, thread_id, a.cluster FROM drawn AS d JOIN askable AS a USING (thread_id) "
        "ORDER BY a.ticket, thread_id"
    ).fetchall()
    counted = connection.execute(
        "SELECT count(*), count(*) FILTER (recent AND thread_id NOT IN "
        "(SELECT thread_id FROM drawn WHERE stratum = 'random')) FROM askable"
    ).fetchone()
    assert counted is not None
    return Draw(
        groups=counted[0],
        random={thread: cluster for stratum, thread, cluster in drawn if stratum == "random"},
        recent={thread: cluster for stratum, thread, cluster in drawn if stratum == "recent"},
        recent_groups=counted[1],
        pool=dict(connection.execute(_POOL.format(pool=int(pool))).fetchall()),
        differing=dict(connection.execute(_PROVIDERS_DIFFER.format(limit=int(differing))).fetchall()),
    )


def askable_again(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> dict[int, int]:
    """Read from the database those of the labelled ``threads`` that may be shown again, with their clusters."""
    return dict(connection.execute(_AGAIN.format(wanted=as_table(threads))).fetchall()) if threads else {}


def stored_scores(
    connection: duckdb.DuckDBPyConnection, model_version: str, threads: Collection[int]
) -> dict[int, tuple[float, float, float]]:
    """Read from the database a model's probabilities (bearish, neutral, bullish) for those of ``threads`` that it has
    scored.
    """
    sql = _SCORES.format(version=literal(model_version), wanted=as_table(threads))
    return {
        thread: (bearish, neutral, bullish) for thread, bearish, neutral, bullish in connection.execute(sql).fetchall()
    }


def replace_queue(connection: duckdb.DuckDBPyConnection, posts: Sequence[QueuedPost], built_at: datetime) -> None:
    """Store the labelling queue, replacing the complete earlier one. Call it inside :meth:`Database.write`."""
    connection.execute("DELETE FROM label_queue")
    if posts:
        rows = table([asdict(post) for post in posts], _QUEUE)
        connection.execute(f"INSERT INTO label_queue BY NAME SELECT *, {literal(built_at)} AS built_at FROM {rows}")


def first_queued(connection: duckdb.DuckDBPyConnection, limit: int = 20) -> Preview:
    """Read the first rows of the labelling queue from the database."""
    return preview(connection, _PREVIEW, limit)
