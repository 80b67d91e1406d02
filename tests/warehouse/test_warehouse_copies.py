import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from samples import minute, prepared

from bizcharts_pipeline.core.file_lock import new_locked_folder
from bizcharts_pipeline.warehouse import blocks, checkpoints, errors
from bizcharts_pipeline.warehouse.copies import copy_database, snapshot
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.snapshots import record_poll


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    database = DatabaseFile(tmp_path / "bizcharts.duckdb", wait_seconds=30)
    poll(database, 0)
    return database


def poll(database: DatabaseFile, number: int) -> None:
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


def polls(database: DatabaseFile) -> tuple[int, int]:
    with database.read() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM catalog_snapshots), (SELECT count(*) FROM thread_ops)"
        ).fetchall()
    return counts[0][0], counts[0][1]


@contextmanager
def polling(database: DatabaseFile) -> Iterator[list[int]]:
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


@pytest.mark.slow
def test_copies_made_while_others_poll_hold_one_whole_moment(database: DatabaseFile, tmp_path: Path) -> None:
    with polling(database) as recorded:
        for number in range(4):
            before = len(recorded)
            copy_database(database, tmp_path / f"copy{number}")
            snapshot(database, tmp_path / "read.duckdb")
            snapshots, threads = polls(DatabaseFile(tmp_path / f"copy{number}"))
            assert snapshots == threads
            assert snapshots >= before
    assert polls(database) == (len(recorded), len(recorded))
    assert polls(DatabaseFile(tmp_path / "read.duckdb"))[0] > before
    assert not [path.name for path in tmp_path.iterdir() if "copying" in path.name]


KILLED = """
import os, signal, sys
from pathlib import Path
from bizcharts_pipeline.warehouse import copies
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

copies.verify = lambda *arguments, **more: os.kill(os.getpid(), signal.SIGKILL)
copies.snapshot(DatabaseFile(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.fault("SIGKILL", stage="snapshot", expected="no half copy; the next one clears up")
def test_the_next_snapshot_of_a_name_removes_what_a_killed_one_left(database: DatabaseFile, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, database.path, folder / "monday"], check=False)
    assert [path.name.startswith(".monday.") for path in folder.iterdir()] == [True]
    with new_locked_folder(folder / ".monday.1.copying"):  # one at work
        snapshot(database, folder / "monday")
        assert {path.name for path in folder.iterdir()} == {".monday.1.copying", "monday"}


def test_a_snapshot_replaces_nothing_but_an_earlier_one(database: DatabaseFile, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(errors.BackupError, match="not an earlier copy"):
        snapshot(database, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(errors.BackupError, match="does not exist"):
        snapshot(database, tmp_path / "nowhere" / "file")
    with pytest.raises(errors.BackupError, match="the database itself"):
        snapshot(database, database.path)


def killed_before_its_checkpoint(database: DatabaseFile, number: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "checkpoint", lambda connection, path: connection.close())
        poll(database, number)


def test_a_log_left_by_a_killed_writer_goes_into_copies_and_counts(database: DatabaseFile, tmp_path: Path) -> None:
    killed_before_its_checkpoint(database, 1)
    log = Path(f"{database.path}.wal")
    assert log.exists()
    snapshot(database, tmp_path / "read.duckdb")
    assert polls(DatabaseFile(tmp_path / "read.duckdb")) == (2, 2)
    assert log.exists()
    poll(database, 2)
    assert polls(database) == (3, 3)
    assert not log.exists()


@pytest.mark.parametrize("sound", [True, False])
def test_a_log_of_another_database_or_of_none_is_named_and_neither_replayed_nor_dropped(
    database: DatabaseFile, tmp_path: Path, sound: bool
) -> None:
    other = DatabaseFile(tmp_path / "other.duckdb")
    killed_before_its_checkpoint(other, 7)
    log = Path(f"{database.path}.wal")
    log.write_bytes(Path(f"{other.path}.wal").read_bytes() if sound else b"garbage" * 99)
    content = log.read_bytes()
    for use in (lambda: polls(database), lambda: poll(database, 8)):
        with pytest.raises(errors.DatabaseLogCorrupt, match=r"bizcharts\.duckdb\.wal"):
            use()
    assert log.read_bytes() == content
    log.unlink()
    assert polls(database) == (1, 1)


def test_a_file_of_a_newer_duckdb_is_called_that_and_not_damaged(database: DatabaseFile) -> None:
    content = bytearray(database.path.read_bytes())
    content[12:20] = (999).to_bytes(8, "little")
    words = np.frombuffer(bytes(content[8:4096]), "<u8")
    checksum = np.bitwise_xor.reduce(words * blocks._FACTOR) ^ blocks._SEED
    content[:8] = int(checksum).to_bytes(8, "little")
    database.path.write_bytes(content)
    with pytest.raises(errors.NewerDatabase, match="version number 999") as error:
        polls(database)
    assert "damaged" not in str(error.value)
