"""Computation time of the index over ten years, compared with bare DuckDB aggregations of the same posts.

    python -m benchmarks index
    python -m benchmarks.bench_index 100000000    # a rebuild of so many posts alone: 6 GB of disk, half an hour

The posts are synthetic: a hidden random-walk mood, a daily rhythm, one post in eight a copy of an earlier one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import Ratio, Row, alternated, peak_bytes, ratio, seconds_of
from bizcharts_pipeline.index import store
from bizcharts_pipeline.index.series import look_back, rebuild
from bizcharts_pipeline.index.stretch import Coverage, State
from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.index.votes import DAY, HOUR, Mentions, Posts, from_us
from bizcharts_pipeline.settings import REPOSITORY_ROOT, FearGreedSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

MODEL = "bench-1"
YEARS = 10
BEGIN = 1_420_070_400_000_000  # 2015-01-01
END = BEGIN + YEARS * 365 * DAY
POSTS = 1_000_000
MANY_POSTS = 10_000_000
ROUNDS = 3
NOW = END - 7 * DAY + 30 * 60_000_000  # of the rebuild; the ticks follow

_FILL = f"""
INSERT INTO thread_ops BY NAME
SELECT i AS thread_id, moment AS posted_at, moment + INTERVAL 30 SECOND AS ingested_at,
       ingested_at AS text_known_at, 'warosu' AS source,
       0.0 AS spam_score, '{MODEL}' AS sentiment_model_version,
       CASE WHEN random() < 0.125 THEN greatest(i - 1 - (random() * 40)::BIGINT, 1) ELSE i END AS cluster_id
FROM (SELECT i, make_timestamp(({BEGIN} + (i - random()) * {END - BEGIN} / $posts)::BIGINT) AS moment
      FROM range(1, $posts + 1) t(i));
INSERT INTO scored_posts BY NAME
SELECT thread_id, '{MODEL}' AS model_version, up AS p_bullish, down AS p_bearish, 1 - up - down AS p_neutral,
       up - down AS score, random() AS confidence, 'bench' AS method, posted_at AS scored_at
FROM (SELECT thread_id, posted_at, random() * 0.4 AS down,
             random() * (0.4 + 0.2 * sin(thread_id / 9000)) AS up FROM thread_ops);
INSERT INTO coin_mentions
SELECT thread_id, 'C' || (200 * random() ** 3)::INTEGER, 0.9, 'bench' FROM thread_ops WHERE random() < 0.6;
"""

# The usual SQL for a smooth line of the same buckets: the mean of the previous 24 hours.
_TRAILING_JOIN = f"""
CREATE OR REPLACE TEMP TABLE floor_join AS
SELECT e.moment, sum(w * score) / sum(w) AS mean FROM (
    SELECT make_timestamp({BEGIN} + h * {HOUR}) AS moment FROM range(1, {YEARS} * 8760 + 1) t(h)) e
JOIN (SELECT o.posted_at, s.score, 0.25 + 0.75 * s.confidence AS w
      FROM thread_ops o JOIN scored_posts s USING (thread_id) WHERE s.model_version = '{MODEL}') p
  ON p.posted_at > e.moment - INTERVAL 24 HOUR AND p.posted_at <= e.moment
GROUP BY e.moment
"""
_TRAILING_WINDOW = f"""
CREATE OR REPLACE TEMP TABLE floor_window AS
WITH p AS (
    SELECT o.posted_at AS moment, 0.25 + 0.75 * s.confidence AS w, w * s.score AS ws
    FROM thread_ops o JOIN scored_posts s USING (thread_id) WHERE s.model_version = '{MODEL}'
    UNION ALL SELECT make_timestamp({BEGIN} + h * {HOUR}), NULL, NULL FROM range(1, {YEARS} * 8760 + 1) t(h)),
rolled AS (
    SELECT moment, w, sum(ws) OVER day / sum(w) OVER day AS mean FROM p
    WINDOW day AS (ORDER BY moment RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW))
SELECT moment, mean FROM rolled WHERE w IS NULL
"""
_BY_HOUR = f"""
CREATE OR REPLACE TEMP TABLE floor_group AS
SELECT date_trunc('hour', o.posted_at) AS hour, sum(w * s.score) / sum(w) AS mean
FROM thread_ops o JOIN (SELECT *, 0.25 + 0.75 * confidence AS w FROM scored_posts) s USING (thread_id)
WHERE s.model_version = '{MODEL}' GROUP BY hour
"""


def rows() -> Iterator[Row]:
    """Yield every figure; takes some minutes."""
    with tempfile.TemporaryDirectory() as folder:
        database = build(Path(folder) / "bench.duckdb", POSTS)
        yield from _market(database)
        few = rebuilt(database.path)
        note = f"load, market and coins with intervals, append; peak of {few['peak_bytes'] / 1e6:,.0f} MB"
        yield f"rebuild of {POSTS:,} posts", few["seconds"], "s", note
        yield from _tick(database)
    with tempfile.TemporaryDirectory() as folder:
        many = rebuilt(build(Path(folder) / "bench.duckdb", MANY_POSTS).path)
    growth = Ratio(many["cpu_seconds"] / few["cpu_seconds"] / (MANY_POSTS / POSTS))
    note = (
        f"the same ten years; peak of {many['peak_bytes'] / 1e6:,.0f} MB; a post's CPU time over that above; linear: 1"
    )
    yield f"rebuild of {MANY_POSTS:,} posts", many["seconds"], "s", note, growth


def build(path: Path, posts: int) -> DatabaseFile:
    """Create a database of ``posts`` scored posts over the ten years."""
    database = DatabaseFile(path, 60)
    with database.write() as connection:
        connection.execute("SELECT setseed(0.5)")
        for statement in _FILL.replace("$posts", str(posts)).split(";\n")[:3]:
            connection.execute(statement)
    return database


def rebuilt(path: Path) -> dict[str, Any]:
    """Rebuild the whole index in a process of its own; return its seconds, those of CPU time, and its peak memory."""
    command = [sys.executable, "-m", "benchmarks.bench_index", str(path)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY_ROOT)
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


def _rebuild(database: DatabaseFile) -> dict[str, Any]:
    started, worked = time.perf_counter(), time.process_time()
    update_index(database, model_version=MODEL, now=from_us(NOW), parameters=FearGreedSettings(), full=True)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
        "peak_bytes": peak_bytes(),
    }


def _market(database: DatabaseFile) -> Iterator[Row]:
    """The market's index, beside DuckDB's aggregations of the same posts to the same buckets."""
    parameters = FearGreedSettings()
    stretch = _load(database, BEGIN, END)

    def load_posts() -> None:
        with database.read() as connection:
            store.load_posts(connection, MODEL, BEGIN, END, parameters, [])

    def query(sql: str) -> Callable[[], object]:
        def run() -> None:
            with database.read() as connection:
                connection.execute(sql)

        return run

    def compute(coins: bool) -> Callable[[], object]:
        state = State.nothing(BEGIN)
        mentions = stretch[1] if coins else none_named()
        return lambda: rebuild(
            stretch[0], mentions, stretch[2], state, END, parameters, coins_after=0 if coins else END, running=False
        )

    join, window, group, loading, market = alternated(
        query(_TRAILING_JOIN), query(_TRAILING_WINDOW), query(_BY_HOUR), load_posts, compute(False), rounds=ROUNDS
    )
    coins = seconds_of(compute(True), 1)
    floors = {"trailing 24 h mean, range join": join, "trailing 24 h mean, window function": window}
    for name, seconds in (floors | {"GROUP BY hour": group}).items():
        yield f"DuckDB: {name}", median(seconds), "s", "no duplicates, cap, n_eff"
    yield "load posts", median(loading), "s", f"{POSTS:,} posts"
    note = f"{YEARS * 8760:,} hourly and {YEARS * 365:,} daily buckets"
    yield "market with intervals", median(market), "s", note
    both = [first + second for first, second in zip(loading, market, strict=True)]
    yield "market with intervals and load", median(both), "s", "over the range join; goal 4", ratio(both, join)
    yield "coins with intervals, only", coins - median(market), "s", "200 coins"


def none_named() -> Mentions:
    """Return empty mentions."""
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return Mentions(none, none, (), nothing, none, nothing, nothing)


def _tick(database: DatabaseFile) -> Iterator[Row]:
    parameters = FearGreedSettings()
    now = NOW

    def tick() -> None:
        nonlocal now
        now += 60_000_000
        update_index(database, model_version=MODEL, now=from_us(now), parameters=parameters)

    with database.read() as connection:
        anchor = store.load_anchor(connection, MODEL, now, parameters)
    assert anchor is not None
    state, after = anchor
    stretch = _load(database, state.at - look_back(parameters), now)
    compute = seconds_of(lambda: rebuild(*stretch, state, now, parameters, coins_after=after), ROUNDS)
    imports = [sys.executable, "-c", "import bizcharts_pipeline.index.series"]
    yield "one tick: compute", 1000 * compute, "ms", f"{len(stretch[0].posted_at):,} posts of 5 days"
    yield "one tick: load, compute, append", 1000 * seconds_of(tick, 10), "ms", "on the ten-year table"
    taken = seconds_of(lambda: subprocess.run(imports, check=True), ROUNDS)
    yield "import of the index package", 1000 * taken, "ms", "a new process"


def _load(database: DatabaseFile, after: int, until: int) -> tuple[Posts, Mentions, Coverage]:
    with database.read() as connection:
        posts = store.load_posts(connection, MODEL, after, until, FearGreedSettings(), [])
        return posts, store.load_mentions(connection), store.load_coverage(connection, after, until)


if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(rebuilt(build(Path(place) / "bench.duckdb", int(sys.argv[1])).path)))
    else:
        print(json.dumps(_rebuild(DatabaseFile(Path(sys.argv[1]), 60))))
