import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from bizcharts_pipeline.warehouse.backup import backup, restore, snapshot
from samples import minute, prepared

from bizcharts_pipeline.warehouse import errors
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.snapshots import record_poll


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "bizcharts.duckdb", wait_seconds=30)
    poll(database, 0)
    return database


def poll(database: Database, number: int) -> None:
    """One more thread, and one more snapshot."""
    with database.write() as connection:
        record_poll(
            connection,
            snapshot_at=minute(number),
            last_modified=None,
            threads=[prepared(number + 1)],
            rejected=0,
            ingested_at=minute(number),
        )


def polls(database: Database) -> tuple[int, int]:
    with database.read() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM catalog_snapshots), (SELECT count(*) FROM thread_ops)"
        ).fetchall()
    return counts[0][0], counts[0][1]


@contextmanager
def polling(database: Database) -> Iterator[list[int]]:
    """Poll as fast as it goes meanwhile; the list holds the numbers of the polls that are in."""
    done, recorded, failures = threading.Event(), [0], []

    def go() -> None:
        while not done.is_set():
            try:
                poll(database, recorded[-1] + 1)
            except errors.DatabaseError as error:
                failures.append(error)
            recorded.append(recorded[-1] + 1)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield recorded
    finally:
        done.set()
        thread.join()
    assert not failures


def test_copies_made_while_others_poll_hold_one_whole_moment(database: Database, tmp_path: Path) -> None:
    with polling(database) as recorded:
        for number in range(4):
            before = len(recorded)
            backup(database, tmp_path / f"backup{number}")
            snapshot(database, tmp_path / "read.duckdb")
            snapshots, threads = polls(Database(tmp_path / f"backup{number}"))
            assert snapshots == threads
            assert snapshots >= before
    assert polls(database) == (len(recorded), len(recorded))
    assert polls(Database(tmp_path / "read.duckdb"))[0] > before
    assert not [path.name for path in tmp_path.iterdir() if "copying" in path.name]


def test_a_backup_refuses_to_overwrite(database: Database, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(errors.BackupError, match="exists already"):
        backup(database, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(errors.BackupError, match="no folder"):
        backup(database, tmp_path / "nowhere" / "file")
    with pytest.raises(errors.BackupError, match="the database itself"):
        snapshot(database, database.path)


def test_a_restore_under_load_takes_the_backups_state_and_keeps_the_other(database: Database, tmp_path: Path) -> None:
    backup(database, tmp_path / "backup")
    poll(database, 1)
    with polling(Database(tmp_path / "other.duckdb")):
        kept = restore(database, tmp_path / "backup")
    assert polls(database) == (1, 1)
    assert kept is not None
    assert kept.name.startswith("bizcharts.duckdb.before-restore-")
    assert polls(Database(kept)) == (2, 2)
    with polling(database) as recorded:
        restore(database, tmp_path / "backup")
    assert polls(database)[0] <= len(recorded)
    poll(database, 10_000)
    assert polls(database)[0] >= 2


def test_a_restore_replaces_a_damaged_database_and_makes_a_missing_one(database: Database, tmp_path: Path) -> None:
    backup(database, tmp_path / "backup")
    database.path.write_bytes(b"not a database at all" * 1000)
    Path(f"{database.path}.wal").write_bytes(b"nor a log")
    kept = restore(database, tmp_path / "backup")
    assert kept is not None
    assert Path(f"{kept}.wal").read_bytes() == b"nor a log"
    assert kept.read_bytes().startswith(b"not a database")
    assert polls(database) == (1, 1)
    database.path.unlink()
    assert restore(database, tmp_path / "backup") is None
    assert polls(database) == (1, 1)


def test_a_write_ahead_log_left_by_a_killed_writer_goes_into_copies_and_not_into_a_restored_file(
    database: Database, tmp_path: Path
) -> None:
    backup(database, tmp_path / "backup")
    connection = duckdb.connect(str(database.path))
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    connection.execute("INSERT INTO catalog_snapshots (snapshot_at, not_modified) VALUES (now()::TIMESTAMP, TRUE)")
    connection.close()
    log = Path(f"{database.path}.wal")
    assert log.exists()
    snapshot(database, tmp_path / "read.duckdb")
    assert polls(Database(tmp_path / "read.duckdb")) == (2, 1)
    assert log.exists()
    restore(database, tmp_path / "backup")
    assert polls(database) == (1, 1)


def test_what_is_no_backup_of_bizcharts_replaces_nothing(database: Database, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "foreign")) as connection:
        connection.execute("CREATE TABLE recipes (name VARCHAR)")
    (tmp_path / "text").write_text("hello" * 5000)
    with duckdb.connect(str(tmp_path / "empty")):
        pass
    backup(database, tmp_path / "newer")
    with duckdb.connect(str(tmp_path / "newer")) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (999, 'later', now()::TIMESTAMP, 'x')")
    for name in ("foreign", "text", "empty", "newer", "absent"):
        with pytest.raises(errors.DatabaseError, match=name):
            restore(database, tmp_path / name)
    with pytest.raises(errors.BackupError, match="the database itself"):
        restore(database, database.path)
    assert polls(database) == (1, 1)
    assert not [path.name for path in tmp_path.iterdir() if "restor" in path.name]
