from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from warehouse_workers import Start, count, starting

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse import errors, migrations
from bizcharts_pipeline.warehouse.copies import check_database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile, connect
from bizcharts_pipeline.warehouse.log import has_log


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "bizcharts.duckdb", wait_seconds=60)


@pytest.fixture
def start(database: DatabaseFile) -> Iterator[Start]:
    """Start a worker process on the database; it is killed at the end whatever happens."""
    with starting(str(database.path)) as start:
        yield start


@pytest.mark.parametrize("mode", ["write", "read"])
def test_a_shell_that_holds_the_file_delays_a_writer_and_is_named_when_it_stays(
    database: DatabaseFile, start: Start, mode: str
) -> None:
    database.migrate()
    shell = start("hold", 1.5, mode)
    assert shell.stdout is not None
    assert shell.stdout.readline() == "held\n"
    with pytest.raises(errors.DatabaseBusy, match=rf"process {shell.pid} has it open.*bizcharts snapshot"):
        DatabaseFile(database.path, wait_seconds=0.2).migrate()
    if mode == "read":
        assert count(DatabaseFile(database.path, wait_seconds=0.2)) == 0  # readers do not mind a reader
    with database.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    assert count(database) == 1


@pytest.mark.fault("ENOSPC", stage="database", expected="named; what was there stays")
def test_a_full_disk_is_named_and_keeps_what_was_there(database: DatabaseFile, start: Start) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO thread_observations (thread_id, seen_at) VALUES (1, now()::TIMESTAMP)")
    worker = start("full", 2_000_000, 100_000)
    said = worker.communicate(timeout=60)[0]
    assert said.startswith("DatabaseFull")
    assert "Error" not in said
    assert count(database) == 1
    check_database(database)


@pytest.mark.fault("ENOSPC", stage="database", expected="a sound file with every commit")
def test_a_checkpoint_that_a_full_disk_stopped_leaves_a_sound_file_and_every_commit(
    database: DatabaseFile, start: Start
) -> None:
    with database.write() as connection:
        connection.execute("CREATE TABLE more AS SELECT range AS n, md5(range::VARCHAR) AS t FROM range(100000)")
    for commits, room in enumerate((4096, 100_000, 250_000, 300_000), start=1):
        worker = start("full", 20_000, room)
        assert worker.communicate(timeout=60)[0] == ""
        assert count(database) == commits * 20_000
        check_database(database)
    assert has_log(database.path)


def test_what_is_no_usable_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database\n" * 2000)
    with pytest.raises(errors.DatabaseCorrupt, match="not a DuckDB database"):
        count(DatabaseFile(tmp_path / "text"))

    whole = DatabaseFile(tmp_path / "whole")
    whole.migrate()
    (tmp_path / "cut").write_bytes(whole.path.read_bytes()[:20_000])
    with pytest.raises(errors.DatabaseCorrupt, match="restore"):
        count(DatabaseFile(tmp_path / "cut"))

    with duckdb.connect(str(tmp_path / "foreign")) as connection:
        connection.execute("CREATE TABLE recipes (name VARCHAR)")
    with pytest.raises(errors.ForeignDatabase, match="foreign"):
        DatabaseFile(tmp_path / "foreign").migrate()

    with pytest.raises(errors.DatabaseUnavailable, match="does not exist"):
        count(DatabaseFile(tmp_path / "nowhere" / "file"))
    with pytest.raises(errors.DatabaseUnavailable):
        count(DatabaseFile(tmp_path))

    (tmp_path / "empty").touch()
    assert count(DatabaseFile(tmp_path / "empty")) == 0


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database: DatabaseFile) -> None:
    database.migrate()
    version = len(migrations.known_migrations()) + 1
    broken = migrations.Migration(version, "broken", "CREATE TABLE half (a INT); SELECT nonsense", "x")
    connection = connect(database.path, read_only=False)
    with pytest.raises(duckdb.Error):
        migrations.apply(connection, [broken], utc_now())
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]
    connection.close()
    assert count(database) == 0


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_tables.sql").write_text("SELECT 1")
    (tmp_path / "0003_more.sql").write_text("SELECT 1")
    with pytest.raises(errors.MigrationError, match="gap"):
        migrations.read_migrations(tmp_path)
