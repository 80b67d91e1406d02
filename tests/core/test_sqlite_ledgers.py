"""SQLite ledgers that several processes use at once."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bizcharts_pipeline.core.ledgers import upgrade
from bizcharts_pipeline.core.sqlite import connect
from bizcharts_pipeline.core.sqlite_seal import FOLDER, KNOWN, is_lost, seal_path
from bizcharts_pipeline.labels import ledger_schema


def test_a_damaged_ledger_is_refused_with_the_reason_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    path.write_bytes(path.read_bytes()[:4096] + bytes(4096))
    with pytest.raises(sqlite3.DatabaseError, match="is not as BizCharts left it"):
        connect(path)
    assert caplog.records == []
    with pytest.raises(sqlite3.DatabaseError, match="is not as BizCharts left it"):  # no lock was left behind
        connect(path)


@pytest.mark.parametrize("left", ["seal", "lock", "known"])
def test_each_mark_of_a_lost_ledger_alone_shows_that_it_existed(tmp_path: Path, left: str) -> None:
    path = tmp_path / FOLDER / "a.sqlite"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    marks = {"seal": seal_path(path), "lock": path.with_name("a.sqlite.lock"), "known": tmp_path / KNOWN / "a.sqlite"}
    for file in (path, *(mark for name, mark in marks.items() if name != left)):
        file.unlink()
    assert is_lost(path)
    with pytest.raises(sqlite3.DatabaseError, match="missing or empty, although it existed"):
        connect(path)


def test_a_ledger_whose_disk_disappears_under_a_process_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "home" / FOLDER / "a.sqlite"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    (tmp_path / "home").rename(tmp_path / "unmounted")
    (tmp_path / "home").mkdir()
    with pytest.raises(sqlite3.DatabaseError, match="has disappeared; is its disk mounted"):
        connect(path)
    assert list((tmp_path / "home").iterdir()) == []
    (tmp_path / "home").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "home")
    with closing(connect(path)) as connection:
        assert connection.tables() == ["t"]


def test_processes_that_open_and_close_a_ledger_again_and_again_never_call_it_damaged(tmp_path: Path) -> None:
    program = """
import random, sys, time
from contextlib import closing
from pathlib import Path
from bizcharts_pipeline.core.sqlite import connect
pauses = random.Random(sys.argv[2])
for _ in range(150):
    with closing(connect(Path(sys.argv[1]))) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    time.sleep(pauses.uniform(0, 0.02))  # so that the last one often closes as another opens
"""
    path = tmp_path / "ledger.sqlite"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    command = [sys.executable, "-c", program, str(path)]
    workers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "abc"]
    assert [worker.communicate(timeout=120)[1] for worker in workers] == [""] * 3
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (450,)
    assert seal_path(path).exists()


@pytest.mark.parametrize(
    "bring_up_to_date",
    [lambda connection: upgrade(connection, ["CREATE TABLE pods (id TEXT);"]), ledger_schema.bring_up_to_date],
)
def test_the_file_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, bring_up_to_date: Callable[[sqlite3.Connection], bool]
) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE notes (text TEXT)")
    with closing(connect(path)) as connection, pytest.raises(sqlite3.DatabaseError, match="of another program"):
        bring_up_to_date(connection)
    with closing(sqlite3.connect(path)) as after:
        assert after.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
        assert after.execute("PRAGMA application_id").fetchone() == (0,)
