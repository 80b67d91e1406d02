import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse import errors, migrations
from bizcharts_pipeline.warehouse.database import Database, connect

WORKER = Path(__file__).with_name("database_worker.py")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "bizcharts.duckdb", wait_seconds=60)


@pytest.fixture
def start(database: Database) -> Iterator[Start]:
    """Start a worker process on the database; it is killed at the end whatever happens."""
    workers: list[subprocess.Popen[str]] = []

    def start(mode: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(WORKER), mode, str(database.path), *map(str, arguments)]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def count(database: Database, what: str = "count(*)") -> int:
    with database.read() as connection:
        row = connection.execute(f"SELECT {what} FROM thread_observations").fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.slow
def test_twelve_processes_lose_and_double_nothing_and_see_no_half_batch(database: Database, start: Start) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO warosu_days (day, rows, complete) VALUES ('2026-01-01', 0, FALSE)")
    writers = [start("write", number, 12) for number in range(6)]
    readers = [start("read", 18) for _ in range(6)]
    for process in writers + readers:
        assert process.communicate(timeout=120)[0] == ""
        assert process.returncode == 0
    with database.read() as connection:
        assert connection.execute("SELECT rows FROM warosu_days").fetchall() == [(72,)]
        assert connection.execute(
            "SELECT count(*), count(DISTINCT reply_count), sum(reply_count) FROM thread_observations"
        ).fetchall() == [(144, 143, 0)]  # 0 and -0 are one


def test_a_writer_killed_between_two_inserts_leaves_nothing_and_frees_the_lock(
    database: Database, start: Start
) -> None:
    database.migrate()
    writer = start("half")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    with pytest.raises(errors.DatabaseBusy, match=rf"held by BizCharts process {writer.pid}\b"):
        count(Database(database.path, wait_seconds=0.2))
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert count(Database(database.path, wait_seconds=5)) == 0


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_whole_batches_only(database: Database, start: Start) -> None:
    database.migrate()
    moments = random.Random(7)
    for _ in range(6):
        writer = start("batches")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        time.sleep(moments.uniform(0.02, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert count(database) % 10_000 == 0
        assert count(database, "coalesce(sum(reply_count), 0)") == 0


def test_an_exception_rolls_the_whole_transaction_back(database: Database) -> None:
    def break_off() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert count(Database(database.path, wait_seconds=1)) == 0


@pytest.mark.parametrize("mode", ["write", "read"])
def test_a_shell_that_holds_the_file_delays_a_writer_and_is_named_when_it_stays(
    database: Database, start: Start, mode: str
) -> None:
    database.migrate()
    shell = start("hold", 1.5, mode)
    assert shell.stdout is not None
    assert shell.stdout.readline() == "held\n"
    with pytest.raises(errors.DatabaseBusy, match=rf"process {shell.pid} has it open.*bizcharts snapshot"):
        Database(database.path, wait_seconds=0.2).migrate()
    if mode == "read":
        assert count(Database(database.path, wait_seconds=0.2)) == 0  # readers do not mind a reader
    with database.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    assert count(database) == 1


def test_a_stream_of_overlapping_readers_does_not_starve_a_writer(database: Database) -> None:
    database.migrate()
    done = threading.Event()

    def read_on_and_on() -> None:
        while not done.is_set():
            with database.read():
                time.sleep(0.2)

    readers = [threading.Thread(target=read_on_and_on) for _ in range(5)]
    for number, reader in enumerate(readers):
        reader.start()
        time.sleep(0.04 * (number > 0))
    try:
        for _ in range(3):
            Database(database.path, wait_seconds=5).migrate()
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_threads_of_one_process_take_turns_too(database: Database) -> None:
    def write(number: int) -> None:
        with database.write() as connection:
            connection.execute(
                f"INSERT INTO thread_observations (thread_id, seen_at) VALUES ({number}, now()::TIMESTAMP)"
            )
        with database.read() as connection:
            connection.execute("SELECT 1")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database, "count(DISTINCT thread_id)") == 8


def test_a_full_disk_is_named_and_keeps_what_was_there(database: Database, start: Start) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    worker = start("full")
    assert worker.communicate(timeout=60)[0].startswith("DatabaseFull")
    assert count(database) == 1


def test_what_is_no_usable_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database\n" * 2000)
    with pytest.raises(errors.DatabaseCorrupt, match="not a DuckDB database"):
        count(Database(tmp_path / "text"))

    whole = Database(tmp_path / "whole")
    whole.migrate()
    (tmp_path / "cut").write_bytes(whole.path.read_bytes()[:20_000])
    with pytest.raises(errors.DatabaseCorrupt, match="restore"):
        count(Database(tmp_path / "cut"))

    with duckdb.connect(str(tmp_path / "foreign")) as connection:
        connection.execute("CREATE TABLE recipes (name VARCHAR)")
    with pytest.raises(errors.ForeignDatabase, match="foreign"):
        Database(tmp_path / "foreign").migrate()

    with pytest.raises(errors.DatabaseUnavailable, match="does not exist"):
        count(Database(tmp_path / "nowhere" / "file"))
    with pytest.raises(errors.DatabaseUnavailable):
        count(Database(tmp_path))

    (tmp_path / "empty").touch()
    assert count(Database(tmp_path / "empty")) == 0


def test_a_connection_reaches_nothing_but_its_database_and_speaks_utc(database: Database, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with database.read() as connection:
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
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    first = migrations.known_migrations()
    later = migrations.Migration(len(first) + 1, "mood", "ALTER TABLE thread_observations ADD mood VARCHAR", "abc")
    monkeypatch.setattr(migrations, "known_migrations", lambda: (*first, later))
    assert count(database, "count(*) FILTER (mood IS NULL)") == 1
    with database.read() as connection:
        applied = connection.execute("SELECT version, name FROM schema_migrations ORDER BY version").fetchall()
    assert applied[-1] == (later.version, "mood")
    monkeypatch.undo()
    with pytest.raises(errors.NewerDatabase, match=f"version {later.version}"):
        count(database)


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database: Database) -> None:
    database.migrate()
    version = len(migrations.known_migrations()) + 1
    broken = migrations.Migration(version, "broken", "CREATE TABLE half (a INT); SELECT nonsense", "x")
    connection = connect(database.path, read_only=False)
    with pytest.raises(duckdb.Error):
        migrations.apply(connection, [broken], utc_now())
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]
    connection.close()
    assert count(database) == 0


def test_an_edited_migration_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.migrate()
    (first, *rest) = migrations.known_migrations()
    edited = migrations.Migration(first.version, first.name, first.sql + "\n-- more", "another hash")
    monkeypatch.setattr(migrations, "known_migrations", lambda: (edited, *rest))
    with pytest.raises(errors.MigrationError, match="was edited"):
        count(database)


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_tables.sql").write_text("SELECT 1")
    (tmp_path / "0003_more.sql").write_text("SELECT 1")
    with pytest.raises(errors.MigrationError, match="gap"):
        migrations.read_migrations(tmp_path)
