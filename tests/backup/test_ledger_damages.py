"""What a kill leaves in a ledger is no damage; damaged texts and folders in its place are named, with what is left."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from backup_world import NOW, World, leave_ledger_log
from installation import Installation

from bizcharts_pipeline.backup import repair
from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.errors import BackupFailed
from bizcharts_pipeline.core.sqlite_log import find_fault
from bizcharts_pipeline.labels.projection import materialise_labels

LEDGERS = ("labels", "pods", "requests")
KILLED_IN_A_COMMIT = """
import os, sys
from pathlib import Path
from bizcharts_pipeline.core.sqlite import connect
connection = connect(Path(sys.argv[1]))
connection.execute("CREATE TABLE whole AS SELECT 1 AS n")
connection.execute("PRAGMA cache_size = 10")  # pages, so that the transaction below is written before its end
connection.execute("BEGIN")
connection.execute("CREATE TABLE torn (text TEXT)")
connection.executemany("INSERT INTO torn VALUES (?)", [("word " * 100,)] * 1000)
os.kill(os.getpid(), 9)
"""


def installation_of(world: World, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "installation", "http://127.0.0.1:9", extra={"BIZCHARTS_HOME": str(world.home)})


def damage_text(path: Path, text: bytes) -> None:
    """Make the last letter of ``text``, wherever the ledger has it, invalid UTF-8, as if it had never been closed."""
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-1] + bytes([text[-1] | 0x80])))
    Path(f"{path}.seal").unlink()


@pytest.mark.slow
@pytest.mark.fault("torn log", stage="labeller", expected="noted in one line; no earlier commit is lost")
def test_a_kill_in_the_middle_of_a_commit_is_noted_in_one_line_and_is_no_damage(world: World, tmp_path: Path) -> None:
    paths = [world.home / "ledgers" / f"{name}.sqlite" for name in LEDGERS]
    for path in paths:
        killed = subprocess.run([sys.executable, "-c", KILLED_IN_A_COMMIT, str(path)], timeout=60)
        assert killed.returncode == -9
        fault = find_fault(path)
        assert fault
        assert fault.cut
    installation = installation_of(world, tmp_path)
    backed_up = installation.run_command("backup", str(tmp_path / "file"))
    repaired = installation.run_command("repair")
    assert (backed_up.returncode, repaired.returncode) == (0, 0)
    assert repaired.stdout == "Nothing is damaged.\n"
    for line, path in zip(backed_up.stderr.splitlines(), paths, strict=True):
        assert f"{path}-wal ends in the middle of a commit, as a kill or a power cut leaves it" in line
        assert f"the newest entries of {path.name} are missing" in line  # it cannot be told from a log that was cut
    assert len(world.labels.standing()) == 40
    for path in paths:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT n FROM whole").fetchall() == [(1,)]


def test_bytes_lost_from_the_middle_of_a_ledgers_log_are_damage(world: World, tmp_path: Path) -> None:
    for name in LEDGERS:
        path = world.home / "ledgers" / f"{name}.sqlite"
        leave_ledger_log(path)
        log = Path(f"{path}-wal")
        content = log.read_bytes()
        log.write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 100 :])
    named = [damage.path.name for damage in repair.find_damage(world.database, world.home)]
    assert named == [f"{name}.sqlite-wal" for name in LEDGERS]
    with pytest.raises(BackupFailed, match=r"labels\.sqlite-wal is damaged"):
        create(world.database, world.home, tmp_path / "none", NOW)


@pytest.mark.parametrize("text", [b"text of post 17", b"BEFORE UPDATE"], ids=["a value", "the schema"])
def test_a_text_of_a_ledger_that_is_not_utf8_is_named_and_the_ledger_is_rebuilt_from_the_database(
    world: World, tmp_path: Path, text: bytes
) -> None:
    world.add_label(917, notes="text of post 17")
    materialise_labels(world.database, world.labels, NOW)
    path = world.labels.path
    damage_text(path, text)
    installation = installation_of(world, tmp_path)
    refused = installation.run_command("labels", "stats")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"bizcharts: {path}: the label ledger cannot be used: a text in it is damaged (not UTF-8); "
        "`bizcharts repair` shows what can be kept\n"
    )
    (damage,) = repair.find_damage(world.database, world.home)
    rows = "labels 40 (not all)" if text.startswith(b"text") else "labels 41,"
    assert rows in damage.problem
    assert "bizcharts restore FILE --only ledgers" in damage.problem
    assert "`bizcharts labels restore` rebuilds it" in damage.problem
    with pytest.raises(BackupFailed, match="not UTF-8"):
        create(world.database, world.home, tmp_path / "none", NOW)
    for file in (path, *path.parent.glob(f"{path.name}-*")):
        file.rename(tmp_path / file.name)
    assert installation.run_command("labels", "restore").returncode == 0
    assert len(world.labels.standing()) == 41
    assert repair.find_damage(world.database, world.home) == []


@pytest.mark.parametrize(
    "name",
    [f"ledgers/labels.sqlite{suffix}" for suffix in ("", "-wal", ".lock", ".seal")]
    + [f"bizcharts.duckdb{suffix}" for suffix in ("", ".wal", ".lock", ".closed")],
)
def test_a_folder_in_the_place_of_a_file_does_not_hide_other_damages(world: World, name: str) -> None:
    place, emptied = world.home / name, world.home / "ledgers" / "requests.sqlite"
    place.unlink(missing_ok=True)
    place.mkdir()
    emptied.write_bytes(b"")
    next(world.home.glob("models/*/weights.json")).write_bytes(b"{}")
    problems = [damage.problem for damage in repair.find_damage(world.database, world.home)]
    assert len(problems) == 3
    assert place.name in problems[0]
    assert "folder" in problems[0]
    assert problems[1].startswith(f"{emptied} is missing or empty")


def test_a_ledger_that_another_program_changed_is_warned_of_once_in_a_command(world: World, tmp_path: Path) -> None:
    path = world.labels.path
    with closing(sqlite3.connect(path)) as editor:
        editor.execute("CREATE TABLE of_somebody_else (x)")
    found = installation_of(world, tmp_path).run_command("labels", "stats", "--json")
    assert json.loads(found.stdout)["labels"] == 40
    assert found.stderr.count(f"{path} is not as BizCharts left it") == 1
