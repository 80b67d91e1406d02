"""Computation time of the index over ten years, compared with bare DuckDB aggregations of the same posts.

    python benchmarks/bench_index.py [--posts 1000000]

The posts are synthetic: a hidden random-walk mood, a daily rhythm, one post in eight a copy of an earlier one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.measure import Row, alternated_medians
from bizcharts_pipeline.index import store
from bizcharts_pipeline.index.series import look_back, rebuild
from bizcharts_pipeline.index.stretch import Coverage, State
from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.index.votes import DAY, HOUR, Mentions, Posts, from_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database import Database

MODEL = "bench-1"
YEARS = 10
BEGIN = 1_420_070_400_000_000  # 2015-01-01
END = BEGIN + YEARS * 365 * DAY

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


def rows(posts: int = 1_000_000) -> list[Row]:
    """Return the rows (name, value, unit, note)."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "bench.duckdb", 60)
        with database.write() as connection:
            connection.execute("SELECT setseed(0.5)")
            for statement in _FILL.replace("$posts", str(posts)).split(";\n")[:3]:
                connection.execute(statement)
        with database.read() as connection:
            floors = _floors(connection)
        return floors + _whole(database, posts, floors[0][1]) + _tick(database)


def _floors(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    seconds = {
        "trailing 24 h mean, range join": _seconds(lambda: connection.execute(_TRAILING_JOIN)),
        "trailing 24 h mean, window function": _seconds(lambda: connection.execute(_TRAILING_WINDOW)),
        "GROUP BY hour": _seconds(lambda: connection.execute(_BY_HOUR)),
    }
    return [(f"DuckDB: {name}", taken, "s", "no duplicates, cap, n_eff") for name, taken in seconds.items()]


def _whole(database: Database, posts: int, floor: float) -> list[Row]:
    parameters = FearGreedSettings()
    stretch = _load(database, BEGIN, END)

    def load_posts() -> None:
        with database.read() as connection:
            store.load_posts(connection, MODEL, BEGIN, END, parameters, [])

    def compute(coins: bool) -> Callable[[], object]:
        state = State.nothing(BEGIN)
        mentions = stretch[1] if coins else none_named()
        return lambda: rebuild(
            stretch[0], mentions, stretch[2], state, END, parameters, coins_after=0 if coins else END, running=False
        )

    loading = _seconds(load_posts)
    market = _seconds(compute(False))
    coins = _seconds(compute(True), 1)
    note = f"{posts:,} posts, {YEARS * 8760:,} hourly and {YEARS * 365:,} daily buckets"
    return [
        ("load posts", loading, "s", note),
        ("market with intervals", market, "s", note),
        (
            "market with intervals and load",
            loading + market,
            "s",
            f"{(loading + market) / floor:.1f} times the join; goal 4",
        ),
        ("coins with intervals, only", coins - market, "s", "200 coins"),
    ]


def none_named() -> Mentions:
    """Return empty mentions."""
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return Mentions(none, none, (), nothing, none, nothing, nothing)


def _tick(database: Database) -> list[Row]:
    parameters = FearGreedSettings()
    now = END - 7 * DAY + 30 * 60_000_000
    begin = time.perf_counter()
    update_index(database, model_version=MODEL, now=from_us(now), parameters=parameters, full=True)
    full = time.perf_counter() - begin

    def tick() -> None:
        nonlocal now
        now += 60_000_000
        update_index(database, model_version=MODEL, now=from_us(now), parameters=parameters)

    with database.read() as connection:
        anchor = store.load_anchor(connection, MODEL, now, parameters)
    assert anchor is not None
    state, after = anchor
    stretch = _load(database, state.at - look_back(parameters), now)
    compute = _seconds(lambda: rebuild(*stretch, state, now, parameters, coins_after=after))
    imports = [sys.executable, "-c", "import bizcharts_pipeline.index.series"]
    return [
        ("everything, to the table", full, "s", "load, market and coins with intervals, append"),
        ("one tick: compute", 1000 * compute, "ms", f"{len(stretch[0].posted_at):,} posts of 5 days"),
        ("one tick: load, compute, append", 1000 * _seconds(tick, 10), "ms", "on the ten-year table"),
        (
            "import of the index package",
            1000 * _seconds(lambda: subprocess.run(imports, check=True)),
            "ms",
            "a new process",
        ),
    ]


def _load(database: Database, after: int, until: int) -> tuple[Posts, Mentions, Coverage]:
    with database.read() as connection:
        posts = store.load_posts(connection, MODEL, after, until, FearGreedSettings(), [])
        return posts, store.load_mentions(connection), store.load_coverage(connection, after, until)


def _seconds(action: Callable[[], object], rounds: int = 3) -> float:
    return alternated_medians(action, rounds=rounds)[0]
