"""The job `live` as the schedule runs it: a process, real HTTP, the real database."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from installation import Installation

from bizcharts_pipeline.demo.board.server import ReplayBoard, SimulatedBoard
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World

START = datetime(2026, 3, 2, 12, 0)
MODULES = 1_860  # of which an empty run has 1,450
TABLES = [
    "thread_ops",
    "thread_observations",
    "catalog_snapshots",
    "coin_mentions",
    "scored_posts",
    "scored_mentions",
    "fear_greed_index",
    "coin_sentiment",
    "model_versions",
]


@pytest.fixture(scope="module")
def world() -> World:
    return World(7, START - timedelta(days=2), 3)


def dump(installation: Installation) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in an order that does not depend on how it was written."""
    return {table: installation.query(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES}


@pytest.mark.slow
def test_real_catalogues_go_through_the_job_with_exact_counts(shared_data: Path, tmp_path: Path) -> None:
    """Two catalogues 111 s apart share 149 threads, 18 of them with a new reply count; then nothing is new."""
    captures = shared_data / "4chan_api"
    exchanges = [json.loads(line) for line in (captures / "http_exchanges_2014.jsonl").open()]
    served = {
        exchange["response_headers"]["date"]: exchange["response_headers"]["last-modified"]
        for exchange in exchanges
        if exchange["url"].endswith("/g/catalog.json") and exchange["status"] == 200
    }
    times = [datetime(2014, 5, 2, 18, 56, 4), datetime(2014, 5, 2, 18, 57, 55)]
    bodies = [(captures / f"g_catalog_{time:%Y-%m-%dT%H%M%SZ}.json").read_bytes() for time in times]
    modified = [served[f"{time:%a, %d %b %Y %H:%M:%S} GMT"] for time in times]
    with ReplayBoard(list(zip(bodies, modified, strict=True)), board="g") as board:
        installation = Installation(tmp_path, board.url, board="g")
        for now in (*times, times[1] + timedelta(minutes=1)):
            installation.run_job(now=now)
        assert [record.status for record in board.requests] == [200, 200, 304]
        assert [record.if_modified_since for record in board.requests] == [None, *modified]
    snapshots = installation.query(
        "SELECT total_threads, new_threads, changed_threads, not_modified FROM catalog_snapshots ORDER BY snapshot_at"
    )
    numbers = [{thread["no"] for page in json.loads(body) for thread in page["threads"]} for body in bodies]
    assert len(numbers[0] & numbers[1]) == 149
    assert snapshots[0] == (150, 150, 0, False)
    assert snapshots[1][:2] == (150, 1)
    assert snapshots[2] == (150, 0, 0, True)
    assert installation.query("SELECT count(*), count(DISTINCT thread_id) FROM thread_ops") == [(151, 151)]
    grown = """
        SELECT count(*) FROM thread_observations a JOIN thread_observations b USING (thread_id)
        WHERE a.seen_at < b.seen_at AND a.reply_count <> b.reply_count
    """
    assert installation.query(grown) == [(18,)]
    assert installation.query("SELECT count(*) FROM scored_posts") == [(151,)]


def progress(installation: Installation, now: datetime) -> str:
    """How far a run at ``now`` came: what is on disk of it."""
    if list((installation.home / "spool").glob("*.gz")):
        return "fetched"
    if not installation.query(f"SELECT 1 FROM catalog_snapshots WHERE snapshot_at = TIMESTAMP '{now}'"):
        return "nothing"
    if installation.query("SELECT 1 FROM thread_ops WHERE sentiment_model_version IS NULL LIMIT 1"):
        return "stored"
    return "read" if installation.query(f"SELECT 1 FROM fear_greed_index WHERE computed_at = '{now}'") else "scored"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "shares",
    [
        pytest.param((0.0, 0.07, 0.2, 0.5), id="four"),
        pytest.param(
            (0.0, 0.03, 0.07, 0.12, 0.16, 0.2, 0.28, 0.35, 0.42, 0.5, 0.6, 0.7, 0.8),
            id="thirteen",
            marks=pytest.mark.acceptance,
        ),
    ],
)
@pytest.mark.fault(
    "SIGKILL", stage="poll", expected="killed at any time and repeated, it leaves the rows of an undisturbed run"
)
@pytest.mark.fault(
    "SIGKILL", stage="scoring", expected="killed at any time and repeated, it leaves the rows of an undisturbed run"
)
@pytest.mark.fault(
    "SIGKILL", stage="index", expected="killed at any time and repeated, it leaves the rows of an undisturbed run"
)
def test_a_run_that_is_killed_anywhere_and_repeated_leaves_what_an_undisturbed_one_leaves(
    world: World, tmp_path: Path, shares: tuple[float, ...], new_engine: Callable[[], str]
) -> None:
    ticks = [START, START + timedelta(minutes=10)]
    reached = set()
    with SimulatedBoard(world) as board:
        undisturbed = Installation(tmp_path / "undisturbed", board.url)  # on a file in each case
        for board.now in ticks:
            undisturbed.run_job(now=board.now)
        Installation(tmp_path / "paced", board.url, lake=new_engine()).run_job(now=board.now)
        work = time.monotonic() - board.requests[-1].at  # from the request on; before it there are imports only
        expected = dump(undisturbed)
        assert len(expected["thread_ops"]) >= 150
        for share in shares:
            killed = Installation(tmp_path / f"killed-{share}", board.url, lake=new_engine())
            for board.now in ticks:
                asked = len(board.requests)
                killed.kill_job(
                    "live", board.now, when=lambda asked=asked: len(board.requests) > asked, then_seconds=share * work
                )
                reached.add(progress(killed, board.now))
                killed.run_job(now=board.now)
            found = dump(killed)
            for table, rows in expected.items():
                assert found[table] == rows, (share, table, sorted(set(rows) ^ set(found[table]), key=str)[:4])
    assert len(reached) >= 3, reached


@pytest.mark.slow
def test_a_database_held_by_somebody_delays_a_snapshot_and_never_loses_one(world: World, tmp_path: Path) -> None:
    with SimulatedBoard(world, now=START) as board:
        installation = Installation(tmp_path, board.url, extra={"BIZCHARTS_DATABASE_WAIT_SECONDS": "1"})
        installation.run_job(now=START)
        board.now = held_at = START + timedelta(minutes=1)
        holder = duckdb.connect(str(installation.database.path))
        try:
            output = installation.run_job(now=held_at, fails=True)
        finally:
            holder.close()
        assert f"{installation.database.path}" in output
        assert "BIZCHARTS_DATABASE_WAIT_SECONDS sets how long to wait" in output
        assert "Traceback" not in output
        board.now = START + timedelta(minutes=2)
        installation.run_job(now=board.now)
    times = installation.query("SELECT snapshot_at FROM catalog_snapshots ORDER BY 1")
    assert times == [(START + timedelta(minutes=minute),) for minute in range(3)]
    assert not list((installation.home / "spool").glob("*.gz"))


@pytest.mark.slow
def test_garbage_fails_the_run_by_name_is_kept_aside_and_costs_no_later_poll(world: World, tmp_path: Path) -> None:
    with SimulatedBoard(world, now=START) as board:
        installation = Installation(tmp_path, board.url)
        board.fail_next(Fault.MALFORMED, Fault.HTML)  # the asset tries once more
        output = installation.run_job(now=START, fails=True)
        rejected = [path.name for path in (installation.home / "spool" / "rejected").glob("*.gz")]
        assert len(rejected) == 2
        assert any(name in output for name in rejected), output
        assert "Traceback" not in output
        board.now = START + timedelta(minutes=1)
        installation.run_job(now=board.now)
    assert installation.query("SELECT count(*) FROM catalog_snapshots") == [(1,)]
    assert installation.query("SELECT count(*) >= 140 FROM scored_posts") == [(True,)]


@pytest.mark.slow
def test_a_tick_imports_nothing_heavy_and_not_more_than_its_budget_of_modules(world: World, tmp_path: Path) -> None:
    """Every minutely run pays for each import. DuckDB's client imports pandas, a quarter of a second, as soon as it is
    handed a parameter."""
    heavy = (
        "pandas",
        "pyarrow",
        "scipy",
        "sklearn",
        "torch",
        "onnxruntime",
        "PIL",
        "lxml",
        "openai",
        "runpod",
        "apprise",
    )
    program = (
        "import sys; from bizcharts_pipeline.definitions import definitions;"
        "assert definitions().resolve_job_def('live').execute_in_process().success;"
        f"print(len(sys.modules), [name for name in {heavy!r} if name in sys.modules])"
    )
    with SimulatedBoard(world, now=START) as board:
        installation = Installation(tmp_path, board.url)
        finished = subprocess.run(
            [sys.executable, "-c", program],
            env=installation.environment(START),
            capture_output=True,
            text=True,
        )
    assert finished.returncode == 0, finished.stderr
    modules, imported = finished.stdout.strip().split(" ", 1)
    assert imported == "[]"
    assert int(modules) <= MODULES
