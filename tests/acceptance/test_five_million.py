"""Five million opening posts: maintenance, statistics and coverage give the right results in bounded memory."""

from pathlib import Path

import pytest

from benchmarks.bench_big import NOW, POSTS, TASKS, build, measured
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse.database import Database

MAX_BYTES = 2_000_000_000

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1800)]


def one(database: Database, query: str) -> int:
    with database.read() as connection:
        row = connection.execute(query).fetchone()
    assert row
    return int(row[0])


def test_five_million_posts_are_kept_small_in_bounded_memory(tmp_path: Path) -> None:
    database = build(tmp_path / "big.duckdb")
    assert one(database, "SELECT count(*) FROM thread_ops") == POSTS
    size = database.path.stat().st_size
    policy = RetentionSettings()
    until = f"TIMESTAMP '{NOW:%Y-%m-%d}' - INTERVAL {policy.threads_days} DAY"
    old = (
        f"SELECT count(*) FROM thread_ops WHERE greatest(posted_at, ingested_at) < {until} "
        f"AND greatest(reply_count, archive_reply_count) < {policy.popular_replies}"
    )
    to_go = one(database, old)
    assert to_go > POSTS // 3
    figures = {task: measured(task, database.path) for task in TASKS}
    assert {task: found["peak_bytes"] for task, found in figures.items() if found["peak_bytes"] > MAX_BYTES} == {}
    assert one(database, "SELECT count(*) FROM thread_ops") == POSTS - to_go
    assert one(database, old) == 0
    for table in ("thread_observations", "coin_mentions", "scored_posts", "scored_mentions"):
        assert one(database, f"SELECT count(*) FROM {table} ANTI JOIN thread_ops USING (thread_id)") == 0
    html = f"posted_at < TIMESTAMP '{NOW:%Y-%m-%d}' - INTERVAL {policy.html_days} DAY"
    assert one(database, f"SELECT count(op_text) FROM thread_ops WHERE {html}") == 0
    assert one(database, f"SELECT count(*) FROM thread_ops WHERE op_text IS NULL AND NOT {html}") == 0
    assert one(database, "SELECT count(*) FROM thread_ops WHERE op_text_clean IS NULL") == 0
    assert f"threads {to_go:,}" in figures["dry run"]["result"]
    assert f"threads {to_go:,}" in figures["maintenance"]["result"]
    assert "threads 0" in figures["maintenance again"]["result"]
    assert database.path.stat().st_size < size / 2
