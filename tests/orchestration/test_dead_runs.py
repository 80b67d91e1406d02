"""A run whose process is gone does not look as if it were at work for ever."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from postgres import Postgres

from bizcharts_pipeline.core import postgres as engine
from bizcharts_pipeline.core.ledgers import alive, exclusive, is_alive, keep_in_postgres
from bizcharts_pipeline.core.run_locks import acquire
from bizcharts_pipeline.settings import postgres_words
from resources.run_locks import SIGHTINGS, fail_dead_runs, fail_lost_runs
from resources.warehouse import MACHINE_TAG

HOLD = """
import sys, time
from pathlib import Path
from bizcharts_pipeline.core.run_locks import acquire
acquire(Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""

HOLD_SHARED = """
import sys, time
from pathlib import Path
from bizcharts_pipeline.core.ledgers import alive, keep_in_postgres
keep_in_postgres(Path(sys.argv[1]).parent, sys.argv[3])
with alive(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@dg.op
def nothing() -> None: ...


@dg.job
def quick() -> None:
    nothing()


def started_run(instance: DagsterInstance, minutes_ago: float) -> str:
    run_id = instance.create_run_for_job(quick, status=dg.DagsterRunStatus.STARTED).run_id
    created = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    with sqlite3.connect(Path(instance.root_directory) / "history" / "runs.db") as connection:
        connection.execute(
            "UPDATE runs SET create_timestamp = ? WHERE run_id = ?", (f"{created:%Y-%m-%d %H:%M:%S.%f}", run_id)
        )
    return run_id


def status(instance: DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def test_a_run_is_ended_when_its_process_was_killed_and_not_before(instance: DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    run_id = started_run(instance, minutes_ago=5)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), run_id], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    assert fail_dead_runs(instance, folder) == []
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    process.kill()
    process.wait()
    assert fail_dead_runs(instance, folder) == [run_id]
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert list(folder.iterdir()) == []


def test_young_runs_and_runs_that_never_showed_themselves_are_left_alone(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    silent, young = started_run(instance, minutes_ago=5), started_run(instance, minutes_ago=0)
    os.close(acquire(folder, young).file)
    assert fail_dead_runs(instance, folder) == []
    assert status(instance, silent) == status(instance, young) == dg.DagsterRunStatus.STARTED


def test_locks_of_ended_runs_are_removed(instance: DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    result = quick.execute_in_process(instance=instance)
    os.close(acquire(folder, result.run_id).file)
    assert fail_dead_runs(instance, folder) == []
    assert list(folder.iterdir()) == []


@pytest.fixture
def shared(tmp_path: Path, postgres: Postgres) -> Iterator[tuple[Path, str]]:
    """The folder of the locks of runs in a home with its ledgers in PostgreSQL, and the words of the connection
    string."""
    words = postgres_words(postgres.new_lake())
    keep_in_postgres(tmp_path, words)
    yield tmp_path / "runs", words
    keep_in_postgres(tmp_path, None)


def test_a_run_of_another_machine_is_ended_once_its_lock_was_free_some_times_in_a_row(
    instance: DagsterInstance, shared: tuple[Path, str]
) -> None:
    folder, words = shared
    untagged, run_id = (started_run(instance, minutes_ago=5) for _ in range(2))
    instance.add_run_tags(run_id, {MACHINE_TAG: "other"})
    process = subprocess.Popen([sys.executable, "-c", HOLD_SHARED, folder, run_id, words], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    assert fail_lost_runs(instance, folder, {run_id: SIGHTINGS - 1}) == ([], {})
    process.kill()
    process.wait()
    seen: dict[str, int] = {}
    for count in range(1, SIGHTINGS):
        dead, seen = fail_lost_runs(instance, folder, seen)
        assert (dead, seen) == ([], {run_id: count})
    assert fail_lost_runs(instance, folder, seen) == ([run_id], {})
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert status(instance, untagged) == dg.DagsterRunStatus.STARTED


def test_a_lock_is_taken_again_after_the_server_has_restarted(
    shared: tuple[Path, str], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ASK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(engine, "START_SECONDS", 0.0)
    folder, _ = shared
    with alive(folder, "one"), exclusive(folder / "job") as is_free:
        assert is_free
        assert is_alive(folder, "one")
        assert not is_alive(folder, "other")
        postgres.kill()
        with pytest.raises(sqlite3.OperationalError):
            is_alive(folder, "one")
        postgres.start()
        deadline = time.monotonic() + 30
        while not is_alive(folder, "one") or is_free:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            with exclusive(folder / "job") as is_free:
                pass
    assert not is_alive(folder, "one")
