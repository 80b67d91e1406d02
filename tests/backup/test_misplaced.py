"""A folder in a file's place, a file in a folder's, and one ledger's file in another's are named, and can be mended."""

import os
import shutil
from pathlib import Path

import pytest
from backup_world import NOW, World

from bizcharts_pipeline.backup import repair
from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.errors import BackupFailed, RestoreRefused
from bizcharts_pipeline.backup.restore import restore

FOLDERS = ("attempts", "datasets", "drafts", "images", "known-ledgers", "ledgers", "models", "spool")
BESIDE = (
    *(f"bizcharts.duckdb{suffix}" for suffix in (".lock", ".closed", ".wal")),
    *(f"ledgers/labels.sqlite{suffix}" for suffix in ("-wal", "-shm", "-journal", ".lock", ".seal")),
)
FILES = (
    *(f"bizcharts.duckdb{suffix}" for suffix in (".lock", ".turn", ".closed", ".changed", ".wal", ".restoring")),
    *(f"ledgers/labels.sqlite{suffix}" for suffix in ("", "-wal", "-shm", "-journal", ".lock", ".seal")),
    "installation.json",
    "known-ledgers/labels.sqlite",
)


def put_in_place(path: Path, what: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if what == "file":
        path.write_bytes(b"x")
    elif what == "link to another file":
        path.with_name("another").write_bytes(b"precious")
        path.symlink_to(path.with_name("another"))
    elif what == "link":
        path.symlink_to("/nowhere/of/an/unmounted/disk")
    else:
        path.mkdir()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *((name, "file") for name in FOLDERS),
        *((name, what) for name in FILES for what in ("folder", "link")),
        *((name, "link to another file") for name in BESIDE),
    ],
)
def test_what_is_in_a_files_or_folders_place_is_named_and_the_advice_leads_to_a_sound_home(
    world: World, tmp_path: Path, name: str, what: str
) -> None:
    whole = tmp_path / "whole"
    create(world.database, world.home, whole, NOW)
    put_in_place(path := world.home / name, what)
    found = repair.find_damage(world.database, world.home)
    assert [(damage.set_aside, str(path) in damage.problem) for damage in found] == [("It is moved away.", True)]
    with pytest.raises(BackupFailed, match=r"not a (folder|regular file)|is a link"):
        create(world.database, world.home, tmp_path / "none", NOW)
    with pytest.raises(RestoreRefused, match="bizcharts repair --set-aside"):
        restore(world.database, world.home, whole, NOW)
    (kept,) = {done.kept for done in repair.set_aside(world.database, world.home, NOW)}
    assert kept is not None
    assert os.path.lexists(kept)
    if rest := repair.find_damage(world.database, world.home):
        assert all("bizcharts restore" in damage.problem for damage in rest)
        restore(world.database, world.home, whole, NOW)
    assert repair.find_damage(world.database, world.home) == []
    create(world.database, world.home, tmp_path / "again", NOW)


@pytest.mark.parametrize("name", ["bizcharts.duckdb", "ledgers/labels.sqlite", "ledgers/pods.sqlite.seal", "datasets"])
def test_what_this_user_may_not_read_is_named_and_no_restore_is_advised(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, access = world.home / name, os.access
    monkeypatch.setattr(os, "access", lambda file, mode: file != path and access(file, mode))
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.problem == f"{path}: permission denied; check its owner, and the user that runs this command."
    assert damage.set_aside is None
    with pytest.raises(BackupFailed, match="permission denied"):
        create(world.database, world.home, tmp_path / "none", NOW)


@pytest.mark.parametrize("sealed", [True, False], ids=["with its seal", "without a seal"])
def test_the_file_of_another_ledger_is_named_and_a_backup_restores_the_right_one(
    world: World, tmp_path: Path, sealed: bool
) -> None:
    whole = tmp_path / "whole"
    create(world.database, world.home, whole, NOW)
    labels = world.labels.count()
    for suffix in ("", ".seal"):
        source, target = (world.home / f"ledgers/{name}.sqlite{suffix}" for name in ("pods", "labels"))
        target.unlink(missing_ok=True)
        if sealed or not suffix:
            shutil.copy(source, target)
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == world.labels.path
    assert "the file of another ledger is in its place" in damage.problem
    with pytest.raises(BackupFailed, match="the file of another ledger"):
        create(world.database, world.home, tmp_path / "none", NOW)
    restore(world.database, world.home, whole, NOW, only=("ledgers",))
    assert repair.find_damage(world.database, world.home) == []
    assert world.labels.count() == labels
