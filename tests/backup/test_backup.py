"""A backup holds everything, verified, and a restored home works."""

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import copy2
from typing import Any

import duckdb
import pytest
from backup_world import NOW, World, leave_ledger_log, leave_log, tree
from installation import Installation
from pods.small_disk import fill, small_disk

from bizcharts_pipeline.backup import archive
from bizcharts_pipeline.backup import restore as restoring
from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.errors import (
    BackupDamaged,
    BackupFailed,
    NewerBackup,
    NoSpace,
    RestoreRefused,
    SourceDamaged,
)
from bizcharts_pipeline.backup.repair import find_damage
from bizcharts_pipeline.backup.restore import restore
from bizcharts_pipeline.core.files import replacing_marker
from bizcharts_pipeline.core.run_locks import alive
from bizcharts_pipeline.images.withdrawal import tidy_store
from bizcharts_pipeline.sentiment.artifact import new_model
from bizcharts_pipeline.warehouse import errors
from bizcharts_pipeline.warehouse.copies import snapshot


def back_up(world: World, file: Path, **options: bool) -> Path:
    create(world.database, world.home, file, NOW, **options)
    return file


@pytest.mark.slow
def test_a_backup_restored_to_a_second_home_holds_everything_and_works_there(world: World, tmp_path: Path) -> None:
    there = Installation(tmp_path / "second", "http://127.0.0.1:9", extra={"BIZCHARTS_POD_PROVIDER": "local"})
    first = Installation(tmp_path, "http://127.0.0.1:9")
    made = first.run_command("backup", str(tmp_path / "file"))
    assert made.returncode == 0, made.stderr
    restored = there.run_command("restore", str(tmp_path / "file"))
    assert restored.returncode == 0, restored.stderr
    assert World(there.home).contents() == {
        name: value for name, value in world.contents().items() if "/images/" not in name
    }
    assert (there.home / "ledgers/installation").read_text() == (world.home / "ledgers/installation").read_text()
    for command in (["labels", "stats"], ["pods", "list"], ["stats"], ["index"], ["models", "list"], ["repair"]):
        answer = there.run_command(*command)
        assert "Traceback" not in answer.stderr
        assert answer.returncode == 0 or command == ["index"], (command, answer.stderr)
    assert "40 labels" in there.run_command("labels", "stats").stdout
    assert "last poll" in there.run_command("health").stdout
    World(there.home).add_label(99)
    World(there.home).add_posts(900_000, 10, 1)


def test_images_are_part_of_a_backup_on_request_alone(world: World, tmp_path: Path) -> None:
    picture = b"a picture"
    name = archive.hashlib.sha256(picture).hexdigest()
    path = world.home / "images" / name[:2] / name[2:4] / f"{name}.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(picture)
    without, with_images = back_up(world, tmp_path / "without"), back_up(world, tmp_path / "with", images=True)
    assert not [member for member in archive.read(without).members if "images" in member.name]
    assert len([member for member in archive.read(with_images).members if "images/" in member.name]) == 2
    restore(world.database, world.home, without, NOW)
    assert path.read_bytes() == picture
    path.write_bytes(b"another")
    with pytest.raises(SourceDamaged, match=name):
        back_up(world, tmp_path / "damaged", images=True)
    restore(world.database, world.home, with_images, NOW)
    assert path.read_bytes() == picture


def test_repair_names_the_damaged_image_that_backup_refuses_and_missing_images_are_counted_by_both(
    world: World, tmp_path: Path
) -> None:
    hashes = [archive.hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(5)]
    paths = [world.home / "images" / name[:2] / name[2:4] / f"{name}.jpg" for name in hashes]
    with world.database.write() as connection:
        for number, (path, name) in enumerate(zip(paths, hashes, strict=True)):
            path.parent.mkdir(parents=True)
            path.write_bytes(f"{number}".encode())
            connection.execute(
                "INSERT INTO thumbnails (thread_id, kind, status, sha256, media_type, attempts, fetched_at) "
                "VALUES (?, 'thumbnail', 'stored', ?, 'image/jpeg', 1, ?)",
                [number, name, NOW],
            )
    place = {"BIZCHARTS_HOME": str(world.home)}
    installation = Installation(tmp_path / "installation", "http://127.0.0.1:9", extra=place)
    assert installation.run_here("repair").returncode == 0
    paths[0].write_bytes(b"another")
    refused = installation.run_here("backup", str(tmp_path / "refused"), "--images")
    assert f"1 image damaged: {paths[0].name}" in refused.stderr
    assert not (tmp_path / "refused").exists()
    assert f"1 image damaged: {paths[0].name}" in installation.run_here("repair").stdout
    assert back_up(world, tmp_path / "without").exists()
    assert installation.run_here("repair", "--set-aside").returncode == 0
    for path in paths[1:4]:
        path.unlink()
    paths[3].mkdir()
    said = f"4 of 5 images of the database have no file in {world.home / 'images'}: {', '.join(sorted(hashes[:4])[:3])}"
    made = installation.run_here("backup", str(tmp_path / "made"), "--images")
    assert made.returncode == 1
    assert f"{said} and 1 more. " in made.stderr
    kept = [member.name for member in archive.read(tmp_path / "made").members if member.name.startswith("images/")]
    assert kept == [str(paths[4].relative_to(world.home))]
    repaired = installation.run_here("repair")
    assert (repaired.returncode, repaired.stdout) == (0, "Nothing is damaged, but files are missing.\n")
    assert said in repaired.stderr
    tidied = tidy_store(world.database, world.home, NOW, dry_run=True)
    assert tidied.problem


@pytest.mark.parametrize("damage", ["one is missing", "all are missing", "a link to nowhere", "a file for the folder"])
def test_a_data_set_without_its_pictures_is_not_called_whole(world: World, tmp_path: Path, damage: str) -> None:
    (picture,) = world.home.glob("datasets/*/images/*.jpg")
    picture.unlink()
    if damage == "all are missing":
        picture.parent.rmdir()
    elif damage == "a link to nowhere":
        picture.symlink_to("/nowhere")
    elif damage == "a file for the folder":
        picture.parent.rmdir()
        picture.parent.touch()
    installation = Installation(tmp_path / "i", "http://127.0.0.1:9", extra={"BIZCHARTS_HOME": str(world.home)})
    made, repaired = (
        installation.run_here("backup", str(tmp_path / "made"), "--images"),
        installation.run_here("repair"),
    )
    assert made.returncode == 1
    if damage.endswith("missing"):
        said = f"1 of the 1 image of {picture.parent.parent}"
        assert all(said in done.stderr for done in (made, repaired))
        assert repaired.stdout == "Nothing is damaged, but files are missing.\n"
    else:
        assert f"{picture.parent.parent}: it cannot be read" in made.stderr
        assert repaired.returncode == 1


def test_a_champion_without_files_is_named_and_the_backup_of_the_rest_is_no_success(
    world: World, tmp_path: Path
) -> None:
    with world.database.write() as connection:
        connection.execute(
            "INSERT INTO model_versions (model_version, kind, path, sha256, status, trained_at) "
            "VALUES ('minilm-000000000000', 'minilm', 'models/minilm-000000000000', 'x', 'champion', ?)",
            [NOW],
        )
    place = {"BIZCHARTS_HOME": str(world.home)}
    installation = Installation(tmp_path / "installation", "http://127.0.0.1:9", extra=place)
    said = f"models/minilm-000000000000 of the database has no files in {world.home}."
    repaired = installation.run_here("repair")
    assert (repaired.returncode, repaired.stdout) == (1, "Nothing is damaged, but files are missing.\n")
    assert said in repaired.stderr
    made = installation.run_here("backup", str(tmp_path / "made"))
    assert made.returncode == 1
    assert said in made.stderr
    assert archive.read(tmp_path / "made").members


def test_what_a_restore_replaces_is_kept_and_one_part_can_be_restored_alone(world: World, tmp_path: Path) -> None:
    file = back_up(world, tmp_path / "file")
    world.add_label(99)
    world.add_posts(900_000, 10, 1)
    newer = world.contents()
    done = restore(world.database, world.home, file, NOW, ["database"])
    assert len(world.labels.standing()) == 41
    assert World(world.home).contents()["labels.sqlite"] == newer["labels.sqlite"]
    assert world.contents()["thread_ops"] != newer["thread_ops"]
    assert [kept.name for kept in done.kept] == ["bizcharts.duckdb.before-restore-20260301T120000000000"]
    restore(world.database, world.home, done.kept[0], NOW.replace(second=1))  # a copy of the database alone
    assert world.contents() == newer
    restore(world.database, world.home, file, NOW.replace(second=2))
    assert len(world.labels.standing()) == 40
    kept = list(world.home.glob("before-restore-*/ledgers/labels.sqlite"))
    assert [len(type(world.labels)(path).standing()) for path in kept] == [41]


def test_a_backup_says_what_is_wrong_with_its_target_and_overwrites_nothing(world: World, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(BackupFailed, match="already exists"):
        back_up(world, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(BackupFailed, match="does not exist"):
        back_up(world, tmp_path / "nowhere" / "file")
    assert not list(world.home.glob("drafts/*"))


def test_a_backup_is_made_while_others_write_and_keeps_what_is_in_their_logs(world: World, tmp_path: Path) -> None:
    leave_log(world)
    program = (
        "import sqlite3, sys\n"
        "user = sqlite3.connect(sys.argv[1])\n"
        "user.execute('PRAGMA journal_mode = WAL')\n"
        "user.execute('CREATE TABLE more (x)')\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(world.home / "ledgers" / "pods.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "written\n"
        file = back_up(world, tmp_path / "file")
        user.communicate()
    second = World(tmp_path / "second")
    restore(second.database, second.home, file, NOW)
    assert second.contents()["thread_ops"] == world.contents()["thread_ops"]
    with closing(sqlite3.connect(second.home / "ledgers" / "pods.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM more").fetchone() == (0,)


def test_a_backup_is_made_while_a_training_writes_its_model(world: World, tmp_path: Path) -> None:
    with new_model(world.home) as unfinished:
        (unfinished / "weights").write_bytes(b"half of them")
        (world.home / "datasets" / unfinished.name).mkdir(parents=True)
        file = back_up(world, tmp_path / "file")
        assert find_damage(world.database, world.home) == []
    second = World(tmp_path / "second")
    restore(second.database, second.home, file, NOW)
    assert not list(second.home.rglob(".tmp-*"))


def test_a_restore_refuses_while_a_ledger_is_in_use_and_replaces_nothing(world: World, tmp_path: Path) -> None:
    file = back_up(world, tmp_path / "file")
    before = tree(world.home)
    with (
        world.labels._opened(),
        pytest.raises(RestoreRefused, match=r"labels\.sqlite is in use"),
    ):
        restore(world.database, world.home, file, NOW)
    assert {name: before[name] for name in before if "labels.sqlite" not in name}.items() <= tree(world.home).items()
    assert not replacing_marker(world.home / "ledgers").exists()
    assert not list((world.home / "drafts").iterdir())


def test_what_is_no_backup_replaces_nothing_and_the_advice_is_not_to_restore_a_backup(
    world: World, tmp_path: Path
) -> None:
    with duckdb.connect(str(tmp_path / "foreign")) as connection:
        connection.execute("CREATE TABLE recipes (name VARCHAR)")
    (tmp_path / "text").write_text("hello" * 5000)
    (tmp_path / "nothing").write_bytes(b"")
    with duckdb.connect(str(tmp_path / "empty")):
        pass
    snapshot(world.database, tmp_path / "damaged")
    content = bytearray((tmp_path / "damaged").read_bytes())
    content[12288 + 300_000] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    snapshot(world.database, tmp_path / "newer")
    with duckdb.connect(str(tmp_path / "newer")) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (999, 'later', now()::TIMESTAMP, 'x')")
    before = tree(world.home)
    for name in ("foreign", "text", "nothing", "empty", "damaged", "newer", "absent"):
        with pytest.raises((BackupDamaged, RestoreRefused, errors.DatabaseError), match=name) as refused:
            restore(world.database, world.home, tmp_path / name, NOW)
        assert "bizcharts restore" not in str(refused.value)
        assert "restore a backup" not in str(refused.value).replace("or restore an earlier backup", "")
    with pytest.raises(RestoreRefused, match="the database itself"):
        restore(world.database, world.home, world.database.path, NOW)
    assert tree(world.home) == before


def test_a_backup_of_a_newer_version_is_called_that(world: World, tmp_path: Path) -> None:
    file = back_up(world, tmp_path / "file")
    file.write_bytes(file.read_bytes().replace(b"bizcharts-backup 1\n", b"bizcharts-backup 2\n"))
    with pytest.raises(NewerBackup, match="format 2"):
        restore(world.database, world.home, file, NOW)


def test_an_archive_that_was_made_to_lead_elsewhere_is_refused(world: World, tmp_path: Path) -> None:
    for name in ("../outside", "/etc/passwd", "models/../../outside", "ledgers/x.sqlite-wal", "pods/key", "models"):
        with (tmp_path / "file").open("wb") as out, pytest.MonkeyPatch.context() as patch:
            patch.setattr(archive, "is_known", lambda name: True)
            writer = archive.Writer(out)
            writer.add(name, world.home / "ledgers" / "installation")
            writer.finish({})
        with pytest.raises(BackupDamaged, match="unexpected entry"):
            restore(world.database, world.home, tmp_path / "file", NOW)


def test_what_a_backup_holds_can_be_taken_out_by_tar_and_checked_by_sha256sum(world: World, tmp_path: Path) -> None:
    import subprocess

    file = back_up(world, tmp_path / "file")
    subprocess.run(["tar", "xf", file, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=tmp_path, check=True)
    listed = json.loads((tmp_path / "manifest.json").read_bytes())["members"]
    assert all(tree(tmp_path)[name] == sha256 for name, _, sha256 in listed)


def test_a_ledger_log_left_by_a_killed_process_is_part_of_the_backup(world: World, tmp_path: Path) -> None:
    leave_ledger_log(world.home / "ledgers" / "labels.sqlite")
    file = back_up(world, tmp_path / "file")
    second = World(tmp_path / "second")
    restore(second.database, second.home, file, NOW)
    with closing(sqlite3.connect(second.home / "ledgers" / "labels.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM more").fetchone() == (6,)


@pytest.mark.parametrize("where", ["home", "target"])
def test_a_full_disk_is_named_and_not_taken_for_damage(world: World, tmp_path: Path, where: str) -> None:
    """The disk has room for nothing, for a part of the database, or for all of it and a part of the rest."""
    kilobytes = world.database.path.stat().st_size // 1_000
    before, file = tree(world.home), tmp_path / "target" / "file"
    file.parent.mkdir()
    full = world.home / "drafts" if where == "home" else file.parent
    named = world.home if where == "home" else file.parent
    for size in (4, kilobytes // 2, kilobytes + 40):
        with small_disk(full, size):
            with pytest.raises(NoSpace, match=rf"no space left in {named}[,.].* Nothing was lost"):
                back_up(world, file)
            assert not list(full.iterdir())
    assert {name: content for name, content in tree(world.home).items() if name in before} == before
    back_up(world, file)


def test_nothing_is_restored_under_a_run_in_progress(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, before = back_up(world, tmp_path / "file"), tree(world.home)
    with alive(world.database.runs, "a-run"), pytest.raises(RestoreRefused, match=r"in progress \(a-run\)"):
        restore(world.database, world.home, file, NOW)
    assert tree(world.home) == before
    verify = restoring.verify
    with ExitStack() as begun:

        def begin_meanwhile(*arguments: Any, **options: Any) -> None:
            verify(*arguments, **options)
            begun.enter_context(alive(world.database.runs, "a-later-run"))

        monkeypatch.setattr(restoring, "verify", begin_meanwhile)
        with pytest.raises(RestoreRefused, match=r"in progress \(a-later-run\)"):
            restore(world.database, world.home, file, NOW)
        monkeypatch.undo()
    assert tree(world.home) == before
    restore(world.database, world.home, file, NOW)


def test_a_disk_too_full_for_a_restore_is_named_and_the_home_stays(world: World, tmp_path: Path) -> None:
    file = back_up(world, tmp_path / "file")
    before, kilobytes = tree(world.home), world.database.path.stat().st_size // 1_000
    for kind, source in (("backup", file), ("copy", copy2(world.database.path, tmp_path / "copy"))):
        second = World(tmp_path / f"second-{kind}")
        second.home.mkdir(parents=True, exist_ok=True)
        with small_disk(second.home, kilobytes // 2):
            with pytest.raises(NoSpace, match=rf"Nothing was restored: there is no space left in {second.home}, where"):
                restore(second.database, second.home, source, NOW)
            assert not list(second.home.rglob("*.duckdb"))
    with small_disk(world.home / "drafts", 4), pytest.raises(NoSpace, match=rf"no space left in {world.home}, where"):
        restore(world.database, world.home, file, NOW)
    with small_disk(world.home / "drafts", 4):
        fill(world.home / "drafts" / "ballast")
        with pytest.raises(NoSpace, match=rf"Nothing was restored: there is no space left in {world.home}\."):
            restore(world.database, world.home, file, NOW)
    assert {name: content for name, content in tree(world.home).items() if name in before} == before
