"""Queries behind the asset checks; each returns violations, so an empty result is a pass."""

from datetime import datetime

import duckdb

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.warehouse.rescoring import AWAITED
from bizcharts_pipeline.warehouse.values import literal

REQUIRED_COLUMNS = {
    "thread_ops": (
        "thread_id posted_at subject op_text op_text_clean reply_count image_count image_url thumbnail_url image_md5 "
        "source first_seen_at last_seen_at sentiment_score sentiment_confidence"
    ),
    "thread_observations": "thread_id seen_at reply_count image_count page position",
    "catalog_snapshots": "snapshot_at total_threads avg_reply_count top_coins new_threads not_modified",
    "coin_mentions": "thread_id coin_symbol confidence mention_source",
    "scored_posts": "thread_id model_version p_bearish p_neutral p_bullish score confidence method scored_at",
    "fear_greed_index": (
        "bucket_start bucket value lo hi label stance stance_lo stance_hi stance_wide_lo stance_wide_hi "
        "history_days state final n n_eff coverage model_version method basis computed_at knowable_at"
    ),
    "warosu_days": "day rows requests complete fetched_at method reason",
    "archive_overlaps": (
        "day hours_polled live_threads archive_threads both_threads time_differences largest_difference "
        "text_differences compared_at"
    ),
    "thread_fates": "thread_id fate decided_at",
    "thumbnails": (
        "thread_id path sha256 width height status kind source reason bytes media_type perceptual_hash nsfw attempts "
        "fetched_at"
    ),
    "image_features": ("sha256 extractor kind perceptual_hash green red colours ocr_text vector problem computed_at"),
    "blocked_images": "hash kind reason blocked_at",
    "training_labels": (
        "thread_id sentiment_rating labeler_id labeled_at seconds skipped notes text_snapshot image_url_snapshot "
        "origin posted_at subject_snapshot flag session stratum probability suggestion image_visible"
    ),
    "gold_split": "thread_id period frozen_at",
    "auto_labels": (
        "thread_id provider model prompt_version label p_bearish p_neutral p_bullish status usd labeled_at endpoint "
        "request_key model_returned confidence_source image_used error"
    ),
    "auto_label_trust": "provider model endpoint prompt_version n accuracy macro_f1 kappa trusted reason measured_at",
    "label_queue": "position thread_id stratum probability margin built_at",
    "dataset_versions": "dataset_version kind path train_rows validation_rows classes created_at",
    "model_versions": ("model_version kind base_model dataset_version trained_at accuracy macro_f1 status path sha256"),
    "coin_prices": "coin_symbol at usd source",
    "reference_index": "day value label source fetched_at",
    "retention_marks": "what gone_before marked_at",
    "coin_sentiment": (
        "coin_symbol bucket_start bucket score lo hi mentions n_eff model_version computed_at knowable_at"
    ),
}

_COLUMNS = (
    "SELECT table_name, column_name FROM duckdb_columns() "
    "WHERE database_name = current_database() AND schema_name = 'main'"
)

_DUPLICATES = "SELECT thread_id FROM thread_ops GROUP BY thread_id HAVING count(*) > 1 ORDER BY thread_id LIMIT 20"

_INVALID_SCORES = """
SELECT thread_id FROM scored_posts
WHERE NOT (least(p_bearish, p_neutral, p_bullish) >= 0 AND abs(p_bearish + p_neutral + p_bullish - 1) < 1e-6
       AND abs(score - (p_bullish - p_bearish)) < 1e-6 AND confidence BETWEEN 0 AND 1)
ORDER BY thread_id LIMIT 20
"""

_LATE_SCORES = f"""
SELECT s.waits_for, count(*), strftime(min(s.scored_at), '%Y-%m-%d %H:%M') FROM scored_posts AS s
JOIN model_versions AS m ON m.model_version = s.model_version AND m.status = 'champion'
WHERE s.waits_for IN {AWAITED} AND s.scored_at < {{before}}
GROUP BY 1 ORDER BY 2 DESC
"""

_INVALID_INDEX = """
SELECT bucket || ' ' || strftime(bucket_start, '%Y-%m-%d %H:%M') FROM fear_greed_index
WHERE NOT coalesce(lo >= 0 AND lo <= value AND value <= hi AND hi <= 100, value IS NULL)
   OR (method IS NOT NULL AND (value IS NULL OR label IS NULL) != (state IN ('no reading', 'calibrating')))
   OR NOT coalesce(stance_lo <= stance AND stance <= stance_hi, TRUE) OR NOT stance BETWEEN -1 AND 1
ORDER BY bucket_start DESC LIMIT 20
"""

_INVALID_COINS = """
SELECT coin_symbol || ' ' || bucket || ' ' || strftime(bucket_start, '%Y-%m-%d %H:%M') FROM coin_sentiment
WHERE NOT coalesce(lo >= -1 AND lo <= score AND score <= hi AND hi <= 1, score IS NULL) OR mentions < 0
ORDER BY bucket_start DESC LIMIT 20
"""


def missing_columns(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the ``table.column`` names of the public schema that the database lacks."""
    present = set(connection.execute(_COLUMNS).fetchall())
    return [
        f"{table}.{column}"
        for table, columns in REQUIRED_COLUMNS.items()
        for column in columns.split()
        if (table, column) not in present
    ]


def duplicate_threads(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Read from the database the ids of threads with more than one row; at most 20."""
    return [row[0] for row in connection.execute(_DUPLICATES).fetchall()]


def invalid_scores(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Read from the database the threads whose scores are not probabilities; at most 20."""
    return [row[0] for row in connection.execute(_INVALID_SCORES).fetchall()]


def late_scores(connection: duckdb.DuckDBPyConnection, before: datetime) -> list[str]:
    """Read from the database, for each thing that scores of the champion wait for since before a time (naive UTC), how
    many and since when; those that wait for their picture are not late.
    """
    rows = connection.execute(_LATE_SCORES.format(before=literal(before))).fetchall()
    return [
        f"{counted(count, 'post')} scored by another model since {since}, waiting: {why}" for why, count, since in rows
    ]


def invalid_index_rows(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Read from the database index rows outside 0 to 100 or their own interval, or with a value where NULL is required;
    at most 20.
    """
    return [row[0] for row in connection.execute(_INVALID_INDEX).fetchall()]


def invalid_coin_rows(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Read from the database coin rows outside -1 to 1 or their own interval; at most 20."""
    return [row[0] for row in connection.execute(_INVALID_COINS).fetchall()]
