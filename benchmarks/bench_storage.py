"""Disk space of the warehouse, compared with SQLite and the first implementation's schema for the same posts.

    python -m benchmarks storage

The posts are those of ``bench_big``, whose words repeat more than people's do; then the real texts of 2017 in their
place, if they are there (``BIZCHARTS_SHARED_DATA``). SQLite has no index beside its key, so that it is not put at a
disadvantage, and its file is written in the order of the key, which leaves no gaps.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb

from benchmarks.bench_big import build
from benchmarks.bench_text import DATA
from benchmarks.measure import Ratio, Row
from bizcharts_pipeline.warehouse.compact import rewrite
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

POSTS = 1_000_000
REAL_TEXTS = DATA / "biz_posts" / "biz_threads_text_2017_part_a.jsonl.gz"
BATCH = 50_000

# The first implementation's schema, without the tables that have nothing to do with posts.
_ORIGINAL = """
CREATE TABLE thread_ops (
    thread_id INTEGER PRIMARY KEY, subject TEXT, board TEXT, op_text TEXT, op_text_clean TEXT, op_name TEXT,
    op_tripcode TEXT, has_image INTEGER, image_url TEXT, thumbnail_url TEXT, local_thumbnail_path TEXT,
    image_md5 TEXT, image_filename TEXT, image_width INTEGER, image_height INTEGER, image_size INTEGER,
    created_at INTEGER NOT NULL, last_modified INTEGER, first_seen_at DATETIME, last_seen_at DATETIME,
    archived_at DATETIME, reply_count INTEGER, image_count INTEGER, unique_ips INTEGER, page_position INTEGER,
    bump_limit_reached INTEGER, image_limit_reached INTEGER, is_sticky INTEGER, is_closed INTEGER,
    sentiment_score REAL, sentiment_confidence REAL, sentiment_method TEXT, image_sentiment_score REAL,
    image_analyzed INTEGER, analyzed_at DATETIME, needs_reanalysis INTEGER, source TEXT, source_url TEXT);
CREATE TABLE coin_mentions (
    id INTEGER PRIMARY KEY, thread_id INTEGER, coin_symbol TEXT NOT NULL, coin_name TEXT, confidence REAL,
    mention_source TEXT, created_at DATETIME);
CREATE TABLE catalog_snapshots (
    id INTEGER PRIMARY KEY, snapshot_at DATETIME NOT NULL, total_threads INTEGER, threads_with_images INTEGER,
    avg_reply_count REAL, top_coins TEXT, created_at DATETIME);
"""
# Our rows as that schema's; what we do not keep is NULL there, which costs it a byte.
_AS_ORIGINAL = {
    "thread_ops": """
        SELECT thread_id, subject, 'biz', op_text, op_text_clean, NULL, NULL, 1, image_url, thumbnail_url, NULL,
               image_md5, image_filename, image_width, image_height, image_bytes, epoch(posted_at)::BIGINT, NULL,
               strftime(first_seen_at, '%Y-%m-%d %H:%M:%S'), strftime(last_seen_at, '%Y-%m-%d %H:%M:%S'), NULL,
               greatest(reply_count, archive_reply_count), image_count, NULL, NULL, 0, 0, 0, 0, sentiment_score,
               sentiment_confidence, sentiment_model_version, NULL, 0, strftime(ingested_at, '%Y-%m-%d %H:%M:%S'), 0,
               source, NULL
        FROM thread_ops ORDER BY thread_id""",
    "coin_mentions": """
        SELECT NULL, thread_id, coin_symbol, NULL, confidence, mention_source,
               strftime(ingested_at, '%Y-%m-%d %H:%M:%S')
        FROM coin_mentions JOIN thread_ops USING (thread_id) ORDER BY thread_id""",
    "catalog_snapshots": """
        SELECT NULL, strftime(snapshot_at, '%Y-%m-%d %H:%M:%S'), total_threads, NULL, avg_reply_count,
               top_coins::VARCHAR, strftime(snapshot_at, '%Y-%m-%d %H:%M:%S')
        FROM catalog_snapshots ORDER BY snapshot_at""",
}


def rows() -> Iterator[Row]:
    """Yield every figure; takes about two minutes."""
    with tempfile.TemporaryDirectory() as folder:
        yield from sizes("simulated texts", build(Path(folder) / "ours.duckdb", POSTS), POSTS)
    if REAL_TEXTS.exists():
        with tempfile.TemporaryDirectory() as folder:
            yield from sizes("real texts", *_with_real_texts(Path(folder) / "ours.duckdb"))


def _with_real_texts(path: Path) -> tuple[DatabaseFile, int]:
    """Return a database of as many posts as there are texts, and their number."""
    lines = f"SELECT unnest(lines) AS text FROM read_json('{REAL_TEXTS}')"
    with duckdb.connect() as connection:
        texts = connection.execute(
            f"SELECT row_number() OVER () - 1 AS thread_id, text FROM ({lines})"
        ).to_arrow_table()
    database = build(path, len(texts))
    with database.write() as connection:
        connection.register("texts", texts)
        connection.execute("""
            UPDATE thread_ops SET op_text_clean = text, op_text = replace(replace(text, '>', '&gt;'), chr(10), '<br>')
            FROM texts WHERE thread_ops.thread_id = texts.thread_id""")
    return database, len(texts)


def sizes(texts: str, database: DatabaseFile, posts: int) -> Iterator[Row]:
    """Yield the bytes a post of ``database`` takes in SQLite and here; deletes what SQLite has no table for."""
    original = _bytes_of_original(database) / posts
    whole = _bytes(database) / posts
    with database.write() as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            if table not in _AS_ORIGINAL and table != "schema_migrations":
                connection.execute(f"DELETE FROM {table}")
    some = _bytes(database) / posts
    rows_beside = "and the history of replies, scores by model, archive days, prices"
    yield f"SQLite, the original's schema, {texts}", original, "MB", f"for a million posts; measured with {posts:,}"
    yield f"warehouse, the same tables, {texts}", some, "MB", "for a million posts; over SQLite", Ratio(some / original)
    yield f"warehouse, all tables, {texts}", whole, "MB", f"{rows_beside}; over SQLite", Ratio(whole / original)


def _bytes_of_original(database: DatabaseFile) -> int:
    path = database.path.with_name("posts.db")
    with closing(sqlite3.connect(path)) as original, database.read() as connection:
        original.executescript(_ORIGINAL)
        for table, query in _AS_ORIGINAL.items():
            found = connection.execute(query)
            while batch := found.fetchmany(BATCH):
                original.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(batch[0]))})", batch)
        original.commit()
    return path.stat().st_size


def _bytes(database: DatabaseFile) -> int:
    """Return the size of the file as maintenance leaves it, without gaps."""
    with database.replacing():
        rewrite(database.path)
    return database.path.stat().st_size
