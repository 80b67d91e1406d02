"""What a database promises, be it a file or a lake."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from warehouse_workers import Start, count, starting

from bizcharts_pipeline.warehouse import errors, migrations
from bizcharts_pipeline.warehouse.database import Database


@pytest.fixture
def start(either: Database) -> Iterator[Start]:
    """Start a worker process on the database; it is killed at the end whatever happens."""
    with starting(either.name) as start:
        yield start


@pytest.mark.slow
def test_twelve_processes_lose_and_double_nothing_and_see_no_half_batch(either: Database, start: Start) -> None:
    with either.write() as connection:
        connection.execute("INSERT INTO warosu_days (day, rows, complete) VALUES ('2026-01-01', 0, FALSE)")
    writers = [start("write", number, 12) for number in range(6)]
    readers = [start("read", 18) for _ in range(6)]
    for process in writers + readers:
        assert process.communicate(timeout=120)[0] == ""
        assert process.returncode == 0
    with either.read() as connection:
        assert connection.execute("SELECT rows FROM warosu_days").fetchall() == [(72,)]
        assert connection.execute(
            "SELECT count(*), count(DISTINCT reply_count), sum(reply_count) FROM thread_observations"
        ).fetchall() == [(144, 143, 0)]  # 0 and -0 are one


def test_a_writer_killed_between_two_inserts_leaves_nothing_and_frees_the_lock(either: Database, start: Start) -> None:
    either.migrate()
    writer = start("half")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    with pytest.raises(errors.DatabaseBusy, match=rf"\b{writer.pid}\b"):
        either.waiting(0.2).migrate()
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert count(either.waiting(5)) == 0


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="database", expected="whole transactions only, in a file and in a lake")
def test_a_writer_killed_at_any_moment_leaves_whole_batches_only(either: Database, start: Start) -> None:
    either.migrate()
    moments = random.Random(7)
    for _ in range(6):
        writer = start("batches")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        time.sleep(moments.uniform(0.02, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert count(either) % 10_000 == 0
        assert count(either, "coalesce(sum(reply_count), 0)") == 0


def test_an_exception_rolls_the_whole_transaction_back(either: Database) -> None:
    def break_off() -> None:
        with either.write() as connection:
            connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert count(either.waiting(1)) == 0


def test_a_stream_of_overlapping_readers_does_not_starve_a_writer(either: Database) -> None:
    either.migrate()
    done = threading.Event()

    def read_on_and_on() -> None:
        while not done.is_set():
            with either.read():
                time.sleep(0.2)

    readers = [threading.Thread(target=read_on_and_on) for _ in range(5)]
    for number, reader in enumerate(readers):
        reader.start()
        time.sleep(0.04 * (number > 0))
    try:
        for _ in range(3):
            either.waiting(5).migrate()
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_threads_of_one_process_take_turns_too(either: Database) -> None:
    def write(number: int) -> None:
        with either.write() as connection:
            connection.execute(
                f"INSERT INTO thread_observations (thread_id, seen_at) VALUES ({number}, now()::TIMESTAMP)"
            )
        with either.read() as connection:
            connection.execute("SELECT 1")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(either, "count(DISTINCT thread_id)") == 8


def test_a_connection_reaches_nothing_but_its_database_and_speaks_utc(either: Database, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with either.read() as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        for attempt in (
            f"FROM read_csv('{tmp_path}/secret.csv')",
            f"ATTACH '{tmp_path}/other.duckdb'",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(attempt)
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("DELETE FROM thread_ops")


def test_a_database_of_the_first_version_is_brought_up_to_date_by_a_reader(
    either: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with either.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    first = migrations.known_migrations()
    later = migrations.Migration(len(first) + 1, "mood", "ALTER TABLE thread_observations ADD mood VARCHAR", "abc")
    monkeypatch.setattr(migrations, "known_migrations", lambda: (*first, later))
    assert count(either, "count(*) FILTER (mood IS NULL)") == 1
    with either.read() as connection:
        applied = connection.execute("SELECT version, name FROM schema_migrations ORDER BY version").fetchall()
    assert applied[-1] == (later.version, "mood")
    monkeypatch.undo()
    with pytest.raises(errors.NewerDatabase, match=f"version {later.version}"):
        count(either)


def test_an_edited_migration_is_refused(either: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    either.migrate()
    (first, *rest) = migrations.known_migrations()
    edited = migrations.Migration(first.version, first.name, first.sql + "\n-- more", "another hash")
    monkeypatch.setattr(migrations, "known_migrations", lambda: (edited, *rest))
    with pytest.raises(errors.MigrationError, match="was edited"):
        count(either)
