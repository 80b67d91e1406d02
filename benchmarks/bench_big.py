"""Five million opening posts: time and memory of maintenance, statistics and coverage.

Run: ``python -m benchmarks big``. Every task runs in its own process, whose peak memory the kernel reports.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from benchmarks.measure import Row, peak_bytes
from bizcharts_pipeline.archive.calendar_plot import svg_calendar
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse.coverage import coverage, summary
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.statistics import table_statistics
from bizcharts_pipeline.warehouse.values import literal

POSTS = 5_000_000
POSTS_PER_DAY = 1_150
NOW = datetime(2026, 11, 1, 3, 30)
LIVE_SINCE = NOW - timedelta(days=420)
IMPORTED_LONG_AGO = NOW - timedelta(days=400)  # the older half of the archive, to be deleted
IMPORTED_LATELY = NOW - timedelta(days=20)
TASKS = ("dry run", "maintenance", "maintenance again", "statistics", "coverage")

# Words of a small vocabulary, so that the text compresses about as well as real posts.
_WORDS = """
CREATE OR REPLACE TEMP MACRO words(seed, many) AS
    list_aggregate(list_transform(range(many), n ->
        ['buy', 'sell', 'the', 'dip', 'link', 'moon', 'it', 'is', 'over', 'bitcoin', 'we', 'are', 'going', 'to', 'make',
         'never', 'bags', 'price', 'why', 'not', 'anon', 'wagmi', 'ngmi', 'eth', 'chart', 'crash', 'pump', 'tomorrow',
         'this', 'week', 'trust', 'me', 'rate', 'cut', 'gold', 'stack', 'sats', 'fees', 'rug', 'exchange'
        ][1 + (hash(seed * 64 + n) % 40)::INTEGER]), 'string_agg', ' ')
"""
_THREADS = """
INSERT INTO thread_ops (
    thread_id, posted_at, subject, op_text, op_text_clean, reply_count, image_count, observed_reply_count,
    observed_image_count, observed_sticky, observed_closed, archive_reply_count, image_url, thumbnail_url, image_md5,
    image_filename, image_width, image_height, image_bytes, spam_score, source, first_seen_at, last_seen_at,
    ingested_at, text_known_at, cluster_id, sentiment_score, sentiment_confidence, sentiment_model_version, extra)
SELECT i, posted, words(i + 1, 4), '<span class="quote">&gt;' || body || '</span><br>' || md5(i::VARCHAR),
       '>' || body || chr(10) || md5(i::VARCHAR), replies, 3, if(live, replies, NULL), if(live, 3, NULL),
       if(live, FALSE, NULL), if(live, FALSE, NULL), if(live, NULL, replies), 'https://host/biz/' || i || '.jpg',
       'https://host/biz/' || i || 's.jpg', md5((i * 3)::VARCHAR), i || '.jpg', 800, 600, 123456, (i % 97) / 97,
       if(live, 'live', 'warosu'), if(live, posted, NULL), if(live, posted + INTERVAL 1 DAY, NULL),
       ingested, ingested, i, sin(i), abs(cos(i)), 'lexicon-1', NULL
FROM (
    SELECT i, posted, words(i, 35) AS body, posted >= {live_since} AS live,
           (200 / (1 + hash(i) % 200))::INTEGER AS replies,
           CASE WHEN live THEN posted WHEN i < {posts} // 2 THEN {long_ago} ELSE {lately} END AS ingested
    FROM (SELECT i, {now} - INTERVAL ({seconds}) SECOND * ({posts} - i) AS posted FROM range({first}, {last}) AS t(i)))
"""
# Ten observations of a recent thread; three of an older one, which has been thinned.
_OBSERVATIONS = """
INSERT INTO thread_observations
SELECT thread_id, posted_at + INTERVAL (looked * looked * 7) MINUTE, looked * 2, 1, 1, 1, FALSE, FALSE
FROM thread_ops, range(1, 11) AS t(looked)
WHERE source = 'live' AND (posted_at > {now} - INTERVAL 100 DAY OR looked IN (2, 3, 7)) ORDER BY ALL
"""
_REST = """
INSERT INTO coin_mentions SELECT thread_id, ['BTC', 'ETH', 'LINK', 'SOL', 'XRP'][1 + thread_id % 5], 0.9, 'text'
FROM thread_ops WHERE thread_id % 5 < 2;
INSERT INTO scored_posts BY NAME
SELECT thread_id, 'lexicon-1' AS model_version, 0.2 AS p_bearish, 0.3 AS p_neutral, 0.5 AS p_bullish, 0.3 AS score,
       0.1 AS confidence, 'lexicon' AS method, ingested_at AS scored_at FROM thread_ops;
INSERT INTO scored_mentions SELECT thread_id, coin_symbol, 'lexicon-1', 0.1, 0.5 FROM coin_mentions;
INSERT INTO catalog_snapshots (snapshot_at, total_threads, not_modified)
SELECT minute, 150, FALSE
FROM range({live_since}, {now}, INTERVAL 1 MINUTE) AS t(minute)
WHERE minute > {now} - INTERVAL 30 DAY OR extract(minute FROM minute) = 59;
INSERT INTO warosu_days (day, rows, requests, complete, fetched_at, method)
SELECT day::DATE, {per_day}, 50, TRUE, {lately}, 'search'
FROM range(DATE '2014-12-01', {live_since}::DATE, INTERVAL 1 DAY) AS t(day);
INSERT INTO coin_prices SELECT ['BTC', 'ETH', 'SOL'][1 + coin], minute, 100, 'binance'
FROM range({now} - INTERVAL 100 DAY, {now}, INTERVAL 5 MINUTE) AS t(minute), range(3) AS c(coin);
"""


def build(path: Path, posts: int = POSTS) -> DatabaseFile:
    """Create a database of ``posts`` threads over the years up to ``NOW``: archive, then live."""
    database = DatabaseFile(path)
    values = {
        "posts": posts, "now": literal(NOW), "live_since": literal(LIVE_SINCE), "per_day": POSTS_PER_DAY,
        "long_ago": literal(IMPORTED_LONG_AGO), "lately": literal(IMPORTED_LATELY), "seconds": 86_400 / POSTS_PER_DAY,
    }  # fmt: skip
    for first in range(0, posts, 1_000_000):
        with database.write() as connection:
            connection.execute(_WORDS)
            last = min(first + 1_000_000, posts)
            connection.execute(_THREADS.format(first=first, last=last, **values))
    with database.write() as connection:
        connection.execute(_OBSERVATIONS.format(**values))
        connection.execute(_REST.format(**values))
    return database


def rows(posts: int = POSTS) -> Iterator[Row]:
    """Yield seconds and peak memory of each task; takes about three minutes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.duckdb"
        started = time.perf_counter()
        build(path, posts)
        took = time.perf_counter() - started
        yield "building the database", took, "s", f"{posts:,} posts, {path.stat().st_size / 1e6:,.0f} MB, by SQL"
        for task in TASKS:
            figures = measured(task, path)
            yield task, figures["seconds"], "s", figures["result"]
            yield (
                f"{task}: longest lock hold",
                figures["longest_turn"],
                "s",
                "blocks other processes; without compaction",
            )
            yield f"{task}: peak memory", figures["peak_bytes"] / 1e6, "MB", "of the process; goal: below 2,000"


def measured(task: str, path: Path) -> dict[str, Any]:
    """Run one of :data:`TASKS` in its own process and return its figures."""
    command = [sys.executable, "-m", "benchmarks.bench_big", task, str(path)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


class Timed(DatabaseFile):
    """A database that measures how long each lock is held."""

    turns: ClassVar[list[float]] = []

    @contextmanager
    def read(self, copy_to: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        started = time.perf_counter()
        with super().read(copy_to) as connection:
            yield connection
        self.turns.append(time.perf_counter() - started)

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        started = time.perf_counter()
        with super().write() as connection:
            yield connection
        self.turns.append(time.perf_counter() - started)


def run(task: str, path: Path) -> dict[str, Any]:
    """Run ``task`` on the database ``path`` in this process."""
    database, home = Timed(path), path.parent
    database.migrate()
    database.turns.clear()
    started = time.perf_counter()
    match task:
        case "dry run" | "maintenance" | "maintenance again":
            report = maintain(database, home, RetentionSettings(), NOW, dry_run=task == "dry run")
            result = ", ".join(f"{rule.rule} {rule.rows:,}" for rule in report.rules) + f". {report}"
        case "statistics":
            with database.read() as connection:
                tables = table_statistics(connection)
            result = ", ".join(f"{table.table} {table.bytes / 1e6:,.0f} MB" for table in tables if table.bytes > 1e6)
        case _:
            with database.read() as connection:
                days = coverage(connection)
            result = (
                f"{len(days):,} days, {summary(days).complete_days:,} complete; {len(svg_calendar(days)):,} bytes SVG"
            )
    return {
        "seconds": time.perf_counter() - started,
        "result": result,
        "longest_turn": max(database.turns),
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]))))
