"""Backups and restores that are killed, anywhere: the old state or the new one, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backup_world import NOW, World

from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.drafts import new_draft, remove_abandoned
from bizcharts_pipeline.backup.restore import restore
from bizcharts_pipeline.core.file_lock import UNLOCKED_SECONDS
from bizcharts_pipeline.core.files import ABANDONED_SECONDS, replacing_marker
from bizcharts_pipeline.labels.ledger import LabelLedger
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse.swap import journal

KILLED = """
import os, signal, sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from backup_world import World

command, home, file, module, name, call = sys.argv[1:]
calls = 0

owner = import_module(module)
*classes, name = name.split(".")
for each in classes:
    owner = getattr(owner, each)
original = getattr(owner, name)

def killing(*arguments, **more):
    global calls
    calls += 1
    if calls == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **more)

setattr(owner, name, killing)
world = World(Path(home))
from bizcharts_pipeline.backup import create, restore
do = getattr({"create": create, "restore": restore}[command], command)
do(world.database, world.home, Path(file), datetime(2026, 3, 2))
print("not killed")
"""


def run_killed(command: str, world: World, file: Path, point: str, call: int = 1) -> None:
    module, _, name = point.partition(":")
    program = [sys.executable, "-c", KILLED, command, str(world.home), str(file), f"bizcharts_pipeline.{module}", name]
    done = subprocess.run(
        [*program, str(call)],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, (point, call, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("point", "call"),
    [
        ("warehouse.copies:verify", 1),
        ("backup.archive:Writer.add", 2),
        ("backup.archive:Writer.finish", 1),
        ("backup.create:_put", 1),
        ("backup.create:suppress", 1),
    ],
)
@pytest.mark.fault("SIGKILL", stage="backup", expected="no half file; the next backup clears up")
def test_a_killed_backup_leaves_no_half_file_and_the_next_one_removes_what_it_left(
    world: World, tmp_path: Path, point: str, call: int
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    run_killed("create", world, folder / "file", point, call)
    left = [path.stat().st_size for path in [*world.home.glob("drafts/*/*"), *folder.glob(".*")] if path.is_file()]
    assert sum(left) > 1e6
    if (folder / "file").exists():  # killed when it was done
        second = World(tmp_path / "second")
        restore(second.database, second.home, folder / "file", NOW)
        assert len(second.labels.standing()) == 40
    create(world.database, world.home, folder / "next", NOW)
    assert not list((world.home / "drafts").iterdir())
    assert {path.name for path in folder.iterdir()} <= {"file", "next"}


def test_maintenance_removes_what_killed_backups_left_and_nothing_of_one_at_work(world: World, tmp_path: Path) -> None:
    run_killed("create", world, tmp_path / "file", "backup.create:_put")
    hidden = list(tmp_path.glob(".file.*"))
    assert hidden
    count, size = remove_abandoned(world.home, dry_run=True)
    assert count == 1
    assert size > 2e6
    assert hidden[0].exists()
    report = maintain(world.database, world.home, RetentionSettings(), NOW)
    assert [rule.bytes for rule in report.rules if rule.rule == "unfinished backups"] == [size]
    assert not hidden[0].exists()
    with new_draft(world.home) as draft:
        assert remove_abandoned(world.home) == (0, 0)
        assert draft.folder.is_dir()


REMOVING = """
import os, signal, sys
from pathlib import Path
from bizcharts_pipeline.backup.drafts import new_draft

unlink, calls = os.unlink, 0

def killing(*arguments, **more):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(*arguments, **more)

with new_draft(Path(sys.argv[1])) as draft:
    for number in range(6):
        (draft.folder / f"{number}").write_bytes(b"x")
    os.unlink = killing
"""


@pytest.mark.parametrize("call", [1, 4, 7])
def test_a_draft_whose_removal_was_killed_is_removed_by_the_next_command(world: World, call: int) -> None:
    killed = subprocess.run([sys.executable, "-c", REMOVING, str(world.home), str(call)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert remove_abandoned(world.home)[0] == 1
    assert not list((world.home / "drafts").iterdir())


def test_maintenance_removes_old_temporary_files_wherever_a_killed_writer_left_them(world: World) -> None:
    def left(name: str, age: float) -> Path:
        path = world.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        for each in (path, path.parent):
            os.utime(each, times=(0, time.time() - age))
        return path

    old = [left(name, 2 * ABANDONED_SECONDS) for name in (".tmp-1-a", "ledgers/.tmp-1-a", "models/.tmp-1-a/weights")]
    kept = [left("ledgers/.tmp-2-b", 60), left("models/.tmp-2-b/weights", 60), left("models/a/weights", 10**7)]
    for dry_run in (True, False):
        report = maintain(world.database, world.home, RetentionSettings(), NOW, dry_run=dry_run)
        assert [(rule.rows, rule.bytes) for rule in report.rules if rule.rule == "unfinished files"] == [(3, 300)]
        assert [path.exists() for path in old] == [dry_run] * 3
    assert all(path.exists() for path in kept)


def test_a_draft_without_a_lock_is_removed_when_it_is_old_enough_to_be_no_new_one(world: World) -> None:
    for name in ("0a1b2c", ".0a1b2c"):
        (world.home / "drafts" / name / "ledgers").mkdir(parents=True)
        (world.home / "drafts" / name / "ledgers" / "labels.sqlite").write_bytes(b"x" * 1000)
    assert remove_abandoned(world.home) == (0, 0)
    for folder in (world.home / "drafts").iterdir():
        os.utime(folder, times=(0, time.time() - UNLOCKED_SECONDS - 60))
    assert remove_abandoned(world.home) == (2, 2000)
    assert not list((world.home / "drafts").iterdir())


@pytest.mark.parametrize(
    ("point", "call"),
    [
        ("backup.restore:verify", 1),
        ("backup.restore:swap", 1),
        ("warehouse.swap:settle", 1),  # the journal is written
        *(("warehouse.swap:_make", call) for call in (1, 4, 6)),
        *(("warehouse.swap:os.rename", call) for call in (1, 3, 6)),
        *(("warehouse.swap:sync", call) for call in (1, 3)),
    ],
)
@pytest.mark.fault("SIGKILL", stage="restore", expected="the old home, or the new one")
def test_a_killed_restore_leaves_the_old_home_or_the_new_one(
    world: World, tmp_path: Path, point: str, call: int
) -> None:
    create(world.database, world.home, tmp_path / "file", NOW)
    world.add_label(99)
    world.add_posts(900_000, 10, 1)
    run_killed("restore", world, tmp_path / "file", point, call)
    ledger, begun = world.home / "ledgers" / "labels.sqlite", journal(world.database.path).exists()
    if begun:
        with pytest.raises(Exception, match="bizcharts repair"):
            LabelLedger(ledger, busy_seconds=0).count()
    with world.database.read() as connection:  # whoever opens the database finishes it
        posts = connection.execute("SELECT count(*) FROM thread_ops").fetchall()[0][0]
    labels = len(world.labels.standing())
    assert (posts, labels) == (
        (24_000, 40) if begun or "sync" in point else (24_010, 41)
    )  # the journal is gone at its end
    assert not journal(world.database.path).exists()
    assert not replacing_marker(world.home / "ledgers").exists()
    create(world.database, world.home, tmp_path / "next", NOW)
    assert not list((world.home / "drafts").iterdir())
    assert not list(world.home.glob("bizcharts.duckdb.*.restoring*"))
    if labels == 40:
        assert [
            len(LabelLedger(path).standing()) for path in world.home.glob("before-restore-*/ledgers/labels.sqlite")
        ] == [41]
