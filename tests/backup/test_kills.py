"""Backups and restores that are killed, anywhere: the old state or the new one, and nothing left behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from backup_world import NOW, World

from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.drafts import remove_abandoned
from bizcharts_pipeline.backup.restore import restore
from bizcharts_pipeline.core.files import replacing_marker
from bizcharts_pipeline.labels.ledger import LabelLedger
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
    from bizcharts_pipeline.maintenance import maintain
    from bizcharts_pipeline.settings import RetentionSettings

    report = maintain(world.database, world.home, RetentionSettings(), NOW)
    assert [rule.bytes for rule in report.rules if rule.rule == "unfinished backups"] == [size]
    assert not hidden[0].exists()
    from bizcharts_pipeline.backup.drafts import new_draft

    with new_draft(world.home) as draft:
        assert remove_abandoned(world.home) == (0, 0)
        assert draft.folder.is_dir()


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
def test_a_killed_restore_leaves_the_old_home_or_the_new_one(
    world: World, tmp_path: Path, point: str, call: int
) -> None:
    create(world.database, world.home, tmp_path / "file", NOW)
    world.add_label(99)
    world.add_posts(900_000, 10, 1)
    run_killed("restore", world, tmp_path / "file", point, call)
    ledger, begun = world.home / "ledgers" / "labels.sqlite", journal(world.database.path).exists()
    if begun and replacing_marker(world.home / "ledgers").exists():
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
