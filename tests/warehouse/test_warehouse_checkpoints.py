"""A checkpoint that is torn anywhere, by a kill or a power cut, costs nothing that was committed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bizcharts_pipeline.warehouse import checkpoints
from bizcharts_pipeline.warehouse.database_file import DatabaseFile, wal
from bizcharts_pipeline.warehouse.errors import DatabaseBusy, DatabaseCorrupt

SHELL = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
values = ("of the shell", "lexicon", "candidate")
connection.execute("INSERT INTO model_versions (model_version, kind, status) VALUES (?, ?, ?)", values)
connection.close()
"""
PAGE = 4096
BLOCK = 262_144
ROWS = [(f"model-{number}", "lexicon", "candidate") for number in range(40)]


def insert(database: DatabaseFile, number: int) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO model_versions (model_version, kind, status) VALUES (?, ?, ?)", ROWS[number])


def rows(database: DatabaseFile) -> list[tuple[str, ...]]:
    with database.read() as connection:
        return sorted(connection.execute("SELECT model_version, kind, status FROM model_versions").fetchall())


def torn(before: bytes, after: bytes) -> Iterator[tuple[int, bytes]]:
    """The states a kill can leave: the blocks written so far, and of the last one its first pages."""
    state = bytearray(before.ljust(len(after), b"\0"))
    for offset in range(checkpoints.HEADERS_BYTES, len(after), BLOCK):
        block = after[offset : offset + BLOCK]
        if block == state[offset : offset + BLOCK]:
            continue
        for pages in (1, 7, 40, 63):
            state[offset : offset + pages * PAGE] = block[: pages * PAGE]
            yield offset, bytes(state)
        state[offset : offset + BLOCK] = block
        yield offset, bytes(state)


@pytest.mark.slow
@pytest.mark.fault(
    "power cut", stage="database", expected="a checkpoint torn at any page is undone; nothing committed is lost"
)
def test_a_checkpoint_torn_at_any_page_is_undone_and_nothing_committed_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "board.duckdb"
    database = DatabaseFile(path)
    moment = tmp_path / "moment"
    moment.mkdir()
    would_be_lost = 0
    for number in range(4):
        insert(database, number)
    save = checkpoints._save

    def keep_the_moment(saved: Path, content: bytes) -> None:
        save(saved, content)
        for name in (path, wal(path), saved):
            shutil.copy(name, moment)

    for number in range(4, 7):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "_save", keep_the_moment)
            insert(database, number)
        after = path.read_bytes()
        for offset, state in torn((moment / path.name).read_bytes(), after):
            for with_blocks in (True, False):
                killed = tmp_path / "killed"
                shutil.rmtree(killed, ignore_errors=True)
                shutil.copytree(moment, killed)
                (killed / path.name).write_bytes(state)
                if with_blocks:
                    assert rows(DatabaseFile(killed / path.name)) == sorted(ROWS[: number + 1]), offset
                    insert(DatabaseFile(killed / path.name), number + 1)
                    assert rows(DatabaseFile(killed / path.name)) == sorted(ROWS[: number + 2]), offset
                    assert not checkpoints.saved_blocks(killed / path.name).exists()
                else:
                    checkpoints.saved_blocks(killed / path.name).unlink()
                    try:
                        rows(DatabaseFile(killed / path.name))
                    except DatabaseCorrupt:
                        would_be_lost += 1
    assert would_be_lost >= 3  # or DuckDB no longer needs this


def test_a_checkpoint_that_came_to_its_end_is_not_undone(tmp_path: Path) -> None:
    path = tmp_path / "board.duckdb"
    database = DatabaseFile(path)
    insert(database, 0)
    save, kept = checkpoints._save, []

    def keep_the_blocks(saved: Path, content: bytes) -> None:
        save(saved, content)
        kept.append(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "_save", keep_the_blocks)
        insert(database, 1)
    checkpoints.saved_blocks(path).write_bytes(kept[0])  # killed just before it was removed
    assert rows(database) == sorted(ROWS[:2])
    assert not checkpoints.saved_blocks(path).exists()


def test_nothing_is_put_back_under_a_program_that_has_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "board.duckdb"
    insert(DatabaseFile(path), 0)
    saved = checkpoints._Saved(
        path.read_bytes()[: checkpoints.HEADERS_BYTES], {checkpoints.HEADERS_BYTES: b"\0" * BLOCK}
    )
    command = [sys.executable, "-c", SHELL, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdin
        assert shell.stdout
        assert shell.stdout.readline() == "open\n"
        before = path.read_bytes()
        checkpoints.saved_blocks(path).write_bytes(saved.to_bytes())
        for use in (rows, lambda database: insert(database, 1)):
            with pytest.raises(DatabaseBusy):
                use(DatabaseFile(path, 0.2))
        assert path.read_bytes() == before
        shell.communicate("write\n", timeout=30)
    assert rows(DatabaseFile(path)) == [*ROWS[:1], ("of the shell", "lexicon", "candidate")]


def test_saved_blocks_that_are_themselves_torn_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "board.duckdb"
    insert(DatabaseFile(path), 0)
    checkpoints.saved_blocks(path).write_bytes(b"half a file")
    assert rows(DatabaseFile(path)) == ROWS[:1]
    assert not checkpoints.saved_blocks(path).exists()
