"""What is of a lake alone: its lock, its server and its files."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from lake_worker import KINDS
from postgres import PASSWORD, Postgres

from bizcharts_pipeline.core.postgres import connect as ledger_in
from bizcharts_pipeline.settings import SettingsError, load_settings, postgres_words
from bizcharts_pipeline.warehouse import errors
from bizcharts_pipeline.warehouse import lake as lake_module
from bizcharts_pipeline.warehouse.catalogue import extension_file
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake
from bizcharts_pipeline.warehouse.lake_files import MARK

WORKER = Path(__file__).with_name("database_worker.py")
WRITER = Path(__file__).with_name("lake_worker.py")
ADD = "INSERT INTO thread_observations (thread_id, seen_at, reply_count) SELECT {0}, now()::TIMESTAMP, {0}"
LOCK_HOLDER = (
    "SELECT pid FROM pg_locks JOIN pg_database AS d ON d.oid = database "
    "WHERE locktype = 'advisory' AND granted AND datname = '{}'"
)


@pytest.fixture
def shell(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB shell of a user that has the lake attached, and knows nothing of its lock."""
    lake.migrate()
    with closing(duckdb.connect()) as connection:
        for name in ("postgres_scanner", "ducklake"):
            connection.execute(f"LOAD '{extension_file(name)}'")
        connection.execute(f"ATTACH '{lake.address}' AS lake")
        connection.execute("USE lake")
        yield connection


def rows(lake: Database) -> int:
    with lake.read() as connection:
        (found,) = connection.execute("SELECT count(*) FROM thread_observations").fetchall()
    return int(found[0])


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]
    return found


def database_of(lake: Lake) -> str:
    return lake.address.split("dbname=")[1].split()[0]


@pytest.mark.slow
def test_four_processes_that_write_at_once_leave_what_one_leaves_that_writes_alone(lake: Lake, tmp_path: Path) -> None:
    lake.migrate()
    workers = [
        subprocess.Popen(
            [sys.executable, str(WRITER), kind, lake.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for kind in KINDS
    ]
    alone = Database.named(str(tmp_path / "alone.duckdb"), None, 10)
    for write in KINDS.values():
        write(alone)
    for worker in workers:
        assert worker.communicate(timeout=240) == ("", None)
        assert worker.returncode == 0
    assert contents(lake) == contents(alone)
    lake.compact()
    assert contents(lake) == contents(alone)


def test_a_writer_whose_lock_is_lost_commits_nothing(lake: Lake, postgres: Postgres) -> None:
    def write() -> None:
        with lake.write() as connection:
            connection.execute(ADD.format(1))
            postgres.query(f"SELECT pg_terminate_backend(({LOCK_HOLDER.format(database_of(lake))}))")
            # Meanwhile the next one writes.
            subprocess.run([sys.executable, str(WORKER), "write", lake.name, "7", "1"], check=True)

    lake.migrate()
    with pytest.raises(errors.DatabaseUnavailable, match="lock was lost, so nothing was written"):
        write()
    assert rows(lake) == 2
    with lake.write() as connection:
        connection.execute(ADD.format(1))
    assert rows(lake) == 3


def test_a_program_that_writes_without_the_lock_makes_a_commit_fail_and_is_not_merged(
    lake: Lake, shell: duckdb.DuckDBPyConnection
) -> None:
    def write() -> None:
        with lake.write() as connection:
            connection.execute(ADD.format(1))
            shell.execute(ADD.format(2))

    with pytest.raises(errors.DatabaseBusy, match="another program wrote at the same time"):
        write()
    assert rows(lake) == 1
    with lake.write() as connection:
        connection.execute(ADD.format(3))
    assert rows(lake) == 2


def test_rows_that_a_transaction_adds_in_two_ways_and_changes_twice_are_all_there(lake: Lake) -> None:
    """DuckLake loses the first one where it keeps small writes in the catalogue, which it does unless told not to."""
    with lake.write() as connection:
        for statement in (
            "MERGE INTO gold_split AS t USING (SELECT 1 AS thread_id) AS s ON t.thread_id = s.thread_id "
            "WHEN NOT MATCHED THEN INSERT VALUES (s.thread_id, 'a', now()::TIMESTAMP)",
            "INSERT INTO gold_split VALUES (2, 'b', now()::TIMESTAMP)",
            "INSERT INTO gold_split VALUES (3, 'b', now()::TIMESTAMP)",
            "UPDATE gold_split SET period = 'c' WHERE thread_id < 3",
            "UPDATE gold_split SET period = 'd' WHERE thread_id = 3",
        ):
            connection.execute(statement)
    with lake.read() as connection:
        found = connection.execute("SELECT thread_id, period FROM gold_split ORDER BY 1").fetchall()
    assert found == [(1, "c"), (2, "c"), (3, "d")]


def test_a_reader_sees_one_snapshot_while_others_write_and_compact(lake: Lake) -> None:
    for number in range(3):
        with lake.write() as connection:
            connection.execute(ADD.format(number))
    with lake.read() as connection:
        before = connection.execute("SELECT sum(reply_count) FROM thread_observations").fetchall()
        worker = subprocess.run([sys.executable, str(WORKER), "write", lake.name, "7", "3"], check=True)
        assert worker.returncode == 0
        thread = threading.Thread(target=lake.compact)
        thread.start()
        thread.join()
        assert connection.execute("SELECT sum(reply_count) FROM thread_observations").fetchall() == before
    assert rows(lake) == 9


def test_a_process_attaches_anew_now_and_then_and_leaves_no_connection_behind(
    lake: Lake, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database_of(lake)}'"
    lake.migrate()
    monkeypatch.setattr(lake_module, "ATTACHED_SECONDS", 0)
    with lake.read() as connection:
        for number in range(10):
            with lake.write() as writer:
                writer.execute(ADD.format(number))
        assert connection.execute("SELECT count(*) FROM thread_observations").fetchall() == [(0,)]
    assert rows(lake) == 10
    deadline = time.monotonic() + 10
    while int(postgres.query(sessions)) > 2:  # of the DuckDB that is left
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_maintenance_merges_the_small_files_and_keeps_every_row(lake: Lake, postgres: Postgres) -> None:
    for number in range(60):
        with lake.write() as connection:
            connection.execute(ADD.format(number))
            connection.execute(f"DELETE FROM thread_observations WHERE thread_id < {number - 5}")
    expected = contents(lake)
    assert lake.compact(dry_run=True).worth_it
    assert contents(lake) == expected
    for _ in range(2):
        done = lake.compact()
        assert done.done
        assert contents(lake) == expected
    assert postgres.query("SELECT indexname FROM pg_indexes WHERE indexname ~ '^bizcharts'", database_of(lake))


@pytest.mark.slow
def test_a_process_reads_every_table_after_it_has_merged_files_and_deleted_those_of_old_snapshots(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        with lake.write() as connection:
            connection.execute(ADD.format(number))
    expected = contents(lake)
    monkeypatch.setattr(lake_module, "_UPKEEP", [step.replace("24 HOUR", "0 SECOND") for step in lake_module._UPKEEP])
    for _ in range(2):
        assert lake.compact().done
        assert contents(lake) == expected
        monkeypatch.setattr(lake_module, "MIN_SMALL_FILES", 1)
    assert lake.home
    assert len(list((lake.home / "lake").rglob("*.parquet"))) < 60


@pytest.mark.slow
def test_a_server_killed_in_the_middle_loses_no_commit_and_is_named_while_it_is_away(
    lake: Lake, postgres: Postgres
) -> None:
    lake.migrate()
    writer = subprocess.Popen(
        [sys.executable, str(WORKER), "batches", lake.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout
    assert writer.stdout.readline() == "writing\n"
    while rows(lake) < 30_000:
        time.sleep(0.05)
    postgres.kill()
    try:
        _, fault = writer.communicate(timeout=60)
        # DuckDB ends a process whose ROLLBACK fails while it handles another error.
        assert "DatabaseUnavailable" in fault.splitlines()[-1] or writer.returncode == -signal.SIGABRT, fault
        for use in (lake.migrate, lake.exists, lambda: rows(lake)):
            with pytest.raises(errors.DatabaseUnavailable, match="PostgreSQL does not answer") as away:
                use()
            assert "\n" not in str(away.value)
            assert "keepalives" not in str(away.value), "the words of the connection are no news"
    finally:
        postgres.start()
    kept = rows(lake)
    assert kept >= 30_000
    assert kept % 10_000 == 0
    with lake.write() as connection:
        connection.execute(ADD.format(1))
    assert rows(lake) == kept + 1


@pytest.mark.fault("SIGSTOP", stage="database", expected="the next writer of a lake waits, and names the stopped one")
def test_a_stopped_writer_is_waited_for_and_named(lake: Lake) -> None:
    lake.migrate()
    writer = subprocess.Popen([sys.executable, str(WORKER), "half", lake.name], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    assert writer.stdout.readline() == "half\n"
    os.kill(writer.pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.DatabaseBusy, match=rf"within 0.3 s: bizcharts \S+ {writer.pid} is writing"):
            lake.waiting(0.3).migrate()
        assert rows(lake) == 0  # readers do not wait
    finally:
        writer.kill()
        writer.wait()
    lake.waiting(10).migrate()


def test_a_database_that_is_missing_and_a_right_that_is_missing_are_named(
    postgres: Postgres, lake: Lake, tmp_path: Path
) -> None:
    nowhere = Database.named(postgres.address("nowhere"), tmp_path / "other", 5)
    with pytest.raises(errors.DatabaseUnavailable, match=r'database is missing .*"nowhere" does not exist'):
        nowhere.migrate()
    lake.migrate()
    postgres.query("CREATE ROLE unarmed LOGIN")
    assert lake.home
    unarmed = Database.named(lake.address.replace("user=postgres", "user=unarmed"), lake.home, 5)
    with pytest.raises(errors.DatabaseUnavailable, match=r"lacks a right.*permission denied for table") as refused:
        rows(unarmed)
    assert "PGPASSWORD" not in str(refused.value)


def test_a_password_comes_from_the_environment_and_is_in_no_message(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.new_lake()
    guarded = postgres.new_lake().replace("user=postgres", "user=guarded")
    lake = Database.named(guarded, tmp_path / "home", 5)
    monkeypatch.setenv("PGPASSWORD", "wrong donkey")
    with pytest.raises(errors.DatabaseUnavailable, match=r"PGPASSWORD in \.env") as refused:
        lake.migrate()
    assert "donkey" not in str(refused.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    lake.migrate()
    assert rows(lake) == 0


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ducklake:postgres:dbname=lake password=hunter2", "must not hold a password"),
        ("ducklake:postgres:postgresql://me:hunter2@host/lake", "must not hold a password"),
        ("ducklake:postgres:dbname=lake options=-chunter2", "may not hold options"),
        ("ducklake:postgres:host=hunter2", "needs dbname"),
        ("ducklake:postgres:dbname='hunter2'", "must be ducklake:postgres:dbname=NAME"),
        ("ducklake:hunter2.ducklake", "must be ducklake:postgres:dbname=NAME"),
        ("md:lake?motherduck_token=hunter2", "must not hold a token"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_DATABASE", address)
    with pytest.raises(SettingsError, match=reason) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_a_lost_lake_is_not_created_again(lake: Lake, postgres: Postgres) -> None:
    lake.migrate()
    name = database_of(lake)
    fresh = postgres.new_lake()
    postgres.query(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.query(f"ALTER DATABASE {fresh.split('dbname=')[1].split()[0]} RENAME TO {name}")
    command = "import sys; from pathlib import Path; from bizcharts_pipeline.warehouse.database import Database;"
    command += "Database.named(sys.argv[1], Path(sys.argv[2]), 5).migrate()"
    done = subprocess.run([sys.executable, "-c", command, lake.name, str(lake.home)], capture_output=True, text=True)
    assert "DatabaseLost" in done.stderr.splitlines()[-1]


def test_a_server_that_takes_no_writes_is_named_and_can_be_read(lake: Lake, postgres: Postgres) -> None:
    with lake.write() as connection:
        connection.execute(ADD.format(1))
    postgres.query(f"ALTER DATABASE {database_of(lake)} SET default_transaction_read_only = on")
    postgres.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_of(lake)}'")
    with pytest.raises(errors.DatabaseUnavailable, match="PostgreSQL takes no writes"), lake.write() as connection:
        connection.execute(ADD.format(2))
    ledger = ledger_in(postgres_words(lake.address), "labels", 5)
    with closing(ledger), pytest.raises(sqlite3.Error, match="PostgreSQL takes no writes"):
        ledger.create()
    assert rows(lake) == 1


def test_files_that_are_not_mounted_or_elsewhere_are_named(lake: Lake, tmp_path: Path) -> None:
    with lake.write() as connection:
        connection.execute(ADD.format(1))
    folder = tmp_path / "home" / "lake"
    elsewhere = Database.named(lake.address, lake.home, 5, files=str(tmp_path / "elsewhere"))
    with pytest.raises(errors.DatabaseUnavailable, match=f"files are in {folder}.*BIZCHARTS_DATABASE_FILES"):
        elsewhere.migrate()
    assert rows(Database.named(lake.address, lake.home, 5, files=str(folder))) == 1
    folder.rename(tmp_path / "away")
    with pytest.raises(errors.DatabaseUnavailable, match="mounted"):
        rows(lake)
    folder.mkdir()  # as a mount point is while nothing is mounted
    command = "import sys; from pathlib import Path; from bizcharts_pipeline.warehouse.database import Database;"
    command += "Database.named(sys.argv[1], Path(sys.argv[2]), 5).migrate()"
    done = subprocess.run([sys.executable, "-c", command, lake.name, str(lake.home)], capture_output=True, text=True)
    assert "mount the disk that holds them" in done.stderr.splitlines()[-1]
    assert not (folder / MARK).exists()


def test_a_lake_is_not_put_where_other_files_are(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "other.parquet").write_bytes(b"of somebody else")
    with pytest.raises(errors.DatabaseUnavailable, match="is not empty"):
        Database.named(lake.address, lake.home, 5, files=str(tmp_path / "shared")).migrate()
    assert not lake.exists()


def test_what_only_a_file_can_do_says_what_to_use_instead(lake: Lake) -> None:
    with pytest.raises(errors.NotAFile, match=r"pg_dump.*bizcharts migrate --to FILE"):
        lake.file()
