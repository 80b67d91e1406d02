"""Cost of warehouse operations: a poll into a million threads, a query for unscored posts, twelve writing processes.

Run: ``python -m benchmarks warehouse``. A figure is a median unless its note says otherwise. The poll is compared
with its lower bounds: opening and closing the file in DuckDB, and a bare MERGE.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.measure import Row, alternated, ratio, seconds_of
from bizcharts_pipeline.core.rows import Mention, PreparedThread, SourceThread
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import ensure_lexicon_champion
from bizcharts_pipeline.warehouse.scores import unscored_posts
from bizcharts_pipeline.warehouse.snapshots import record_poll
from bizcharts_pipeline.warehouse.statistics import table_statistics
from bizcharts_pipeline.warehouse.threads import merge_threads

THREADS = 1_000_000
OBSERVATIONS = 10_000_000
CATALOGUE = 150
CHANGED = 20
REPEATS = 15
PROCESSES = 12
WRITES_A_PROCESS = 25
NOW = datetime(2030, 1, 1)

_FILL = f"""
INSERT INTO thread_ops (
    thread_id, posted_at, subject, op_text, op_text_clean, reply_count, image_count, observed_reply_count,
    observed_image_count, observed_sticky, observed_closed, image_url, thumbnail_url, image_md5,
    image_filename, image_width, image_height, image_bytes, spam_score, source, first_seen_at, last_seen_at,
    ingested_at, text_known_at, cluster_id, sentiment_score, sentiment_confidence, sentiment_model_version, extra)
SELECT 10_000_000 + i * 40, posted, 'subject ' || md5(i::VARCHAR), repeat(md5(i::VARCHAR) || ' <br>', 5),
       repeat(md5(i::VARCHAR) || ' ', 5), i % 200, 3, i % 200, 3, FALSE, FALSE,
       'https://host/biz/' || i || '.jpg', 'https://host/biz/' || i || 's.jpg', md5(i::VARCHAR),
       i || '.jpg', 800, 600, 123456, i % 97 / 97, 'live', posted, posted + INTERVAL 1 DAY,
       posted, posted, 10_000_000 + i * 40, sin(i), abs(cos(i)), 'lexicon-1', '{{"url": "gm"}}'
FROM (SELECT i, TIMESTAMP '2024-01-01' + INTERVAL 2 MINUTE * i AS posted FROM range({THREADS}) AS t(i))
"""
_FILL_OBSERVATIONS = f"""
INSERT INTO thread_observations
SELECT 10_000_000 + i // 10 * 40, TIMESTAMP '2024-01-01' + INTERVAL 10 SECOND * i, i % 10, 1, 1, 1,
       FALSE, FALSE
FROM range({OBSERVATIONS}) AS t(i)
"""
_BARE_MERGE = """
MERGE INTO thread_ops AS t
USING (SELECT {first} + i * 40 AS thread_id, i AS replies FROM range({rows}) AS t(i)) AS s
ON t.thread_id = s.thread_id
WHEN MATCHED THEN UPDATE SET reply_count = s.replies, last_seen_at = TIMESTAMP '{at}'
"""
_WRITER = """
import sys, time
from pathlib import Path
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
database, waits = DatabaseFile(Path(sys.argv[1]), 60), []
while time.time() < float(sys.argv[2]):
    time.sleep(0.01)
for number in range(int(sys.argv[3])):
    started = time.perf_counter()
    with database.write() as connection:
        waits.append(time.perf_counter() - started)
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) SELECT 1, now()::TIMESTAMP")
print(max(waits))
"""


def rows() -> list[Row]:
    """Measure everything in a temporary folder; takes about a minute."""
    with tempfile.TemporaryDirectory() as folder:
        database = DatabaseFile(Path(folder) / "million.duckdb")
        with database.write() as connection:
            connection.execute(_FILL)
            connection.execute(_FILL_OBSERVATIONS)
            ensure_lexicon_champion(connection, "lexicon-1", "sha256", NOW)
        small = DatabaseFile(Path(folder) / "small.duckdb")
        return [*polls(database), *reads(database), *batches(small), *processes(small)]


def catalogue(poll: int) -> list[PreparedThread]:
    """Return an old sticky and the newest threads, of which ``CHANGED`` have another count in every poll."""
    numbers = [10_000_000, *(10_000_000 + (THREADS + k) * 40 for k in range(CATALOGUE - 1))]
    return [prepared(number, poll if k < CHANGED else 1) for k, number in enumerate(numbers)]


def prepared(number: int, replies: int) -> PreparedThread:
    text = "a post of middling length that names $BTC and little else " * 5
    thread = SourceThread(
        number, NOW, "live", f"subject {number}", f"<b>{text}</b>", replies, 1, 1, 1, "https://host/i.jpg",
        "https://host/is.jpg", "md5", "i.jpg", 800, 600, 123456, extra={"semantic_url": "a-post"},
    )  # fmt: skip
    return PreparedThread(thread, text, None, 0.1, (Mention("BTC", 0.9, "cashtag", text),))


def polls(database: DatabaseFile) -> list[Row]:
    """Measure a poll, and its lower bounds on a copy of the file, which leaves the seal of the first as it is."""
    state = {"poll": 0, "merge": 0}
    bare = database.path.with_name("bare.duckdb")

    def record() -> None:
        state["poll"] += 1
        at = NOW + timedelta(minutes=state["poll"])
        threads = catalogue(state["poll"])
        with database.write() as connection:
            record_poll(connection, snapshot_at=at, last_modified=at, threads=threads, rejected=0, ingested_at=at)

    def open_and_close() -> None:
        duckdb.connect(str(bare)).close()

    def bare_merge() -> None:
        state["merge"] += 1
        at = NOW + timedelta(minutes=state["merge"])
        connection = duckdb.connect(str(bare))
        connection.execute(_BARE_MERGE.format(first=10_000_000 + THREADS * 40, rows=CATALOGUE - 1, at=at))
        connection.close()

    note = f"{CATALOGUE} threads, {CHANGED} changed, into {THREADS:,} threads and {OBSERVATIONS:,} observations"
    started = time.perf_counter()
    record()
    first = time.perf_counter() - started
    size = database.path.stat().st_size
    shutil.copy(database.path, bare)
    ours, opening, merge = alternated(record, open_and_close, bare_merge, rounds=REPEATS)
    polled = f"lock, open, merge, commit, close; {note}; over the bare MERGE"
    figures: list[Row] = [
        ("first poll", first * 1e3, "ms", f"once: {CATALOGUE - 1} new threads and a sticky's text"),
        ("record_poll", median(ours) * 1e3, "ms", polled, ratio(ours, merge)),
        ("bare DuckDB open + close", median(opening) * 1e3, "ms", "a copy of the file, read-write"),
        ("bare DuckDB open + MERGE + close", median(merge) * 1e3, "ms", "a copy of the file, two columns"),
    ]
    grown = database.path.stat().st_size - size
    return [*figures, ("growth of the file", grown / 1e6, "MB", f"over {state['poll']} polls")]


def reads(database: DatabaseFile) -> list[Row]:
    """Measure queries over a million threads."""

    def unscored() -> None:
        with database.read() as connection:
            unscored_posts(connection, "lexicon-1", 500)

    def statistics_of_all() -> None:
        with database.read() as connection:
            table_statistics(connection)

    note = f"{THREADS:,} scored threads, open and close included"
    return [
        ("unscored_posts", seconds_of(unscored, REPEATS) * 1e3, "ms", note),
        ("table_statistics", seconds_of(statistics_of_all, REPEATS) * 1e3, "ms", note),
    ]


def batches(database: DatabaseFile) -> list[Row]:
    """Measure one batch of a backfill."""
    threads = [prepared(number, 1) for number in range(1, 5_001)]
    started = time.perf_counter()
    with database.write() as connection:
        merge_threads(connection, threads, ingested_at=NOW, seen_at=NOW)
    return [("merge_threads, 5,000 new", (time.perf_counter() - started) * 1e3, "ms", "once, empty database")]


def processes(database: DatabaseFile) -> list[Row]:
    """Measure processes that write without a pause."""
    start = time.time() + 3  # all have imported DuckDB by then
    command = [sys.executable, "-c", _WRITER, str(database.path), str(start), str(WRITES_A_PROCESS)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    waits = [float(writer.communicate()[0]) for writer in writers]
    took = time.time() - start
    note = f"{PROCESSES} processes, {WRITES_A_PROCESS} writes each without a pause"
    return [
        ("writes under contention", PROCESSES * WRITES_A_PROCESS / took, "1/s", note),
        ("longest wait for the lock", max(waits) * 1e3, "ms", note),
    ]
