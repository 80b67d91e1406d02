"""What is damaged is named, with what is lost by it; it is moved away on request, and never deleted."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from backup_world import NOW, World, leave_ledger_log, leave_log, make_world, tree
from installation import Installation

from bizcharts_pipeline.backup import repair
from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.errors import BackupFailed
from bizcharts_pipeline.backup.restore import restore
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.sqlite import connect
from bizcharts_pipeline.labels.projection import materialise_labels
from bizcharts_pipeline.labels.recovery import LedgerLost, require_ledger
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.service.serve import instance_lock
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse import checkpoints
from bizcharts_pipeline.warehouse.log import read_log, wal

# So many rows that the file gets longer: a shorter one is refused, and rewritten by `repair`.
DAYS = 100_000
SHELL = f"""
INSERT INTO warosu_days (day, rows, requests, complete)
SELECT DATE '1500-01-01' + i::INTEGER, (hash(i) % 2000000000)::INTEGER, (hash(-i) % 2000000000)::INTEGER, TRUE
FROM range({DAYS}) AS numbers (i)
"""


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def is_sound(world: World, file: Path) -> bool:
    create(world.database, world.home, file, NOW)
    return repair.find_damage(world.database, world.home) == []


def posts(world: World) -> int:
    with world.database.read() as connection:
        return int(connection.execute("SELECT count(*) FROM thread_ops").fetchall()[0][0])


@pytest.mark.slow
@pytest.mark.fault("torn log", stage="database", expected="the transactions before the damage are kept")
def test_a_damaged_log_is_set_aside_and_the_transactions_before_the_damage_are_kept(
    world: World, tmp_path: Path
) -> None:
    leave_log(world, transactions=4)
    log, content = read_log(world.database.path), wal(world.database.path).read_bytes()
    assert log is not None
    flip(wal(world.database.path), log.commits[1] + 200)  # in the third
    named = Installation(tmp_path, "http://127.0.0.1:9").run_command("repair")
    assert named.returncode == 1
    assert "bizcharts.duckdb.wal is damaged" in named.stdout
    assert "4 transactions in" in named.stdout
    (done,) = repair.set_aside(world.database, world.home, NOW)
    assert done.outcome.startswith("2 transactions kept, 2 complete ones")
    assert done.kept is not None
    assert len(done.kept.read_bytes()) == len(content)
    assert posts(world) == 24_200
    assert is_sound(world, tmp_path / "file")


def test_a_log_that_is_not_the_databases_is_set_aside_or_accepted(world: World, tmp_path: Path) -> None:
    shell = duckdb.connect(str(world.database.path))
    shell.execute("PRAGMA disable_checkpoint_on_shutdown")
    shell.execute(SHELL)
    shell.close()
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == wal(world.database.path)
    assert damage.accept
    other = world.copy(tmp_path / "other")
    (done,) = repair.set_aside(world.database, world.home, NOW)
    assert done.kept is not None
    assert done.kept.exists()
    repair.accept(other.database, other.home)
    for each, days in ((world, 0), (other, DAYS)):
        with each.database.read() as connection:
            assert connection.execute("SELECT count(*) FROM warosu_days").fetchall() == [(days,)]
        assert is_sound(each, tmp_path / f"file{days}")


def test_damage_where_no_table_lies_is_named_and_the_file_written_anew_without_loss(
    world: World, tmp_path: Path
) -> None:
    before = world.contents()
    with world.database.read() as connection:
        (total,) = connection.execute("SELECT total_blocks FROM pragma_database_size()").fetchall()[0]
    sound = world.database.path.read_bytes()
    places = (12_288 + block * 262_144 + 100_000 for block in reversed(range(total)))
    for place in (place for place in places if place < len(sound)):  # the last block may end before
        world.database.path.write_bytes(sound)
        flip(world.database.path, place)
        (damage,) = repair.find_damage(world.database, world.home)
        assert damage.path == world.database.path
        if damage.set_aside:
            break
        assert "bizcharts restore FILE --only database" in damage.problem
    else:
        pytest.fail("every block holds a table")
    (done,) = repair.set_aside(world.database, world.home, NOW)
    assert done.kept is not None
    assert world.contents() == before
    assert is_sound(world, tmp_path / "file")


def test_what_another_program_has_changed_is_named_until_it_is_accepted(world: World, tmp_path: Path) -> None:
    with duckdb.connect(str(world.database.path)) as shell:
        shell.execute(SHELL)
    with closing(sqlite3.connect(world.home / "ledgers" / "labels.sqlite")) as editor:
        editor.execute("PRAGMA journal_mode = DELETE")
        editor.execute("CREATE TABLE of_somebody_else (x)")
        editor.commit()
    found = repair.find_damage(world.database, world.home)
    assert [damage.path.name for damage in found] == ["bizcharts.duckdb", "labels.sqlite"]
    assert len(world.labels.standing()) == 40  # it can still be used, and is named all the same afterwards
    assert [damage.path.name for damage in repair.find_damage(world.database, world.home)] == [
        "bizcharts.duckdb",
        "labels.sqlite",
    ]
    assert repair.set_aside(world.database, world.home, NOW) == []
    assert len(repair.accept(world.database, world.home)) == 2
    assert is_sound(world, tmp_path / "file")


@pytest.mark.parametrize("appended", [b"", bytes(300_000)], ids=["a table", "bytes at the end"])
def test_what_another_program_has_changed_is_named_after_later_writes_too(
    world: World, tmp_path: Path, appended: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    if appended:
        with world.database.path.open("ab") as file:
            file.write(appended)
    else:
        with duckdb.connect(str(world.database.path)) as shell:
            shell.execute(SHELL)
    for number in range(2):
        world.add_posts(200_000 + number, 1, seed=9)
    assert caplog.text.count("changed or replaced by another program") == 1
    (found,) = repair.find_damage(world.database, world.home)
    assert found.path == world.database.path
    with pytest.raises(BackupFailed, match=r"another program|damaged"):
        create(world.database, world.home, tmp_path / "refused", NOW)
    repair.set_aside(world.database, world.home, NOW)
    repair.accept(world.database, world.home)
    assert is_sound(world, tmp_path / "file")


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "emptied"])
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_ledger_that_is_lost_is_named_and_not_begun_anew(
    world: World, tmp_path: Path, emptied: bool, killed: bool
) -> None:
    create(world.database, world.home, tmp_path / "backup", NOW)
    path = world.home / "ledgers" / "labels.sqlite"
    if killed:
        leave_ledger_log(path)
        Path(f"{path}-wal").unlink()
    path.unlink()
    if emptied:
        path.touch()
    with pytest.raises(BizchartsError, match="missing or empty"):
        world.add_label(7)
    assert [damage.path for damage in repair.find_damage(world.database, world.home)] == [path]
    with pytest.raises(BackupFailed, match="missing or empty"):
        create(world.database, world.home, tmp_path / "refused", NOW)
    with pytest.raises(BizchartsError, match="missing or empty"):
        maintain(world.database, world.home, RetentionSettings(), NOW)  # it would delete threads that are labelled
    assert path.exists() is emptied
    restore(world.database, world.home, tmp_path / "backup", NOW, only=["ledgers"])
    assert len(world.labels.standing()) == 40
    assert repair.find_damage(world.database, world.home) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labels", "pods", "requests"])
def test_a_ledger_deleted_with_all_files_beside_it_is_named_by_repair_backup_and_health_and_not_begun_anew(
    world: World, tmp_path: Path, name: str
) -> None:
    materialise_labels(world.database, world.labels, NOW)
    path = world.home / "ledgers" / f"{name}.sqlite"
    for file in path.parent.glob(f"{name}.sqlite*"):
        file.unlink()
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.problem.startswith(f"{path} is missing or empty, although it existed.")
    installation = Installation(tmp_path / "other", "http://127.0.0.1:9", extra={"BIZCHARTS_HOME": str(world.home)})
    refused = installation.run_here("backup", str(tmp_path / "none"))
    assert refused.returncode == 1
    assert damage.problem in refused.stderr
    assert not (tmp_path / "none").exists()
    checks = {each["what"]: each for each in json.loads(installation.run_here("health", "--json").stdout)}
    assert not checks["ledgers"]["ok"]
    assert damage.problem.startswith(checks["ledgers"]["detail"])
    with pytest.raises(sqlite3.DatabaseError, match="missing or empty"):
        connect(path)
    if name == "labels":
        assert installation.run_here("labels", "restore").returncode == 0
    else:
        repair.accept(world.database, world.home)
        connect(path).close()
    assert is_sound(world, tmp_path / "file")


def test_all_ledgers_deleted_with_their_folder_are_named_and_come_back_from_a_backup(
    world: World, tmp_path: Path
) -> None:
    create(world.database, world.home, tmp_path / "backup", NOW)
    shutil.rmtree(world.home / "ledgers")
    lost = [damage.path.name for damage in repair.find_damage(world.database, world.home)]
    assert lost == ["labels.sqlite", "pods.sqlite", "requests.sqlite"]
    restore(world.database, world.home, tmp_path / "backup", NOW, only=["ledgers"])
    assert is_sound(world, tmp_path / "file")
    (world.home / "ledgers" / "pods.sqlite").unlink()
    (world.home / "ledgers" / "pods.sqlite.seal").unlink()
    assert [damage.path.name for damage in repair.find_damage(world.database, world.home)] == ["pods.sqlite"]


def test_a_ledger_that_a_full_restore_did_not_bring_is_not_called_lost(world: World, tmp_path: Path) -> None:
    create(world.database, world.home, tmp_path / "backup", NOW)
    connect(world.home / "ledgers" / "scores.sqlite").close()
    restore(world.database, world.home, tmp_path / "backup", NOW)
    assert is_sound(world, tmp_path / "file")


def test_backup_refuses_whatever_repair_names(world: World, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(world.labels.path.parent, old)
    world.add_label(901)
    materialise_labels(world.database, world.labels, NOW)
    shutil.rmtree(world.labels.path.parent)
    shutil.copytree(old, world.labels.path.parent)
    (damage,) = repair.find_damage(world.database, world.home)
    with pytest.raises(BackupFailed, match=re.escape(damage.problem)):
        create(world.database, world.home, tmp_path / "none", NOW)
    assert not (tmp_path / "none").exists()


def test_a_change_in_any_part_of_a_databases_seal_is_named(world: World) -> None:
    seal = Path(f"{world.database.path}.closed")
    for place in (0, 70, seal.stat().st_size - 1):
        content = seal.read_bytes()
        flip(seal, place)
        assert [damage.path for damage in repair.find_damage(world.database, world.home)] == [world.database.path], (
            place
        )
        seal.write_bytes(content)


def test_a_journal_beside_a_closed_ledger_is_named_and_moved_away(world: World, tmp_path: Path) -> None:
    journal = world.home / "ledgers" / "labels.sqlite-journal"
    journal.write_bytes(b"journal of another file" * 100)
    with pytest.raises(BizchartsError, match=r"labels\.sqlite-journal belongs to another"):
        world.labels.count()
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == journal
    assert damage.problem.endswith("closed labels.sqlite without a log.")
    repair.set_aside(world.database, world.home, NOW)
    assert len(world.labels.standing()) == 40
    assert is_sound(world, tmp_path / "file")


def test_repair_does_not_point_to_itself_and_backup_does(world: World, tmp_path: Path) -> None:
    flip(world.home / "ledgers" / "labels.sqlite", 5000)
    flip(world.database.path, 12_288 + 100_000)
    found = repair.find_damage(world.database, world.home)
    assert [damage.path.name for damage in found] == ["bizcharts.duckdb", "labels.sqlite"]
    for damage in found:
        assert "`bizcharts repair`" not in damage.problem
        assert not re.search(r"[;,]\s*$|;\.|  ", damage.problem)
    with pytest.raises(BackupFailed, match="`bizcharts repair` shows") as refused:
        create(world.database, world.home, tmp_path / "none", NOW)
    assert str(refused.value).count("`bizcharts repair`") == 1


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_has_the_databases_place_is_called_what_it_is(world: World, kind: str) -> None:
    world.database.path.unlink()
    (os.mkfifo if kind == "pipe" else os.mkdir)(world.database.path)
    (damage,) = repair.find_damage(world.database, world.home)
    assert "is a folder, a named pipe or a device, not a file; move it away." in damage.problem
    with pytest.raises(BizchartsError, match="is a folder, a named pipe or a device"):
        posts(world)


def test_labels_without_a_database_are_backed_up_and_restored(tmp_path: Path) -> None:
    first, second = (
        Installation(tmp_path / name, "http://127.0.0.1:9", extra={"BIZCHARTS_HOME": str(tmp_path / name / "home")})
        for name in ("first", "second")
    )
    nothing = first.run_here("backup", str(tmp_path / "none"))
    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
    labels = tmp_path / "labels.csv"
    labels.write_text("thread_id,sentiment_rating,labeler_id,labeled_at\n61000001,1,ann,2026-03-01T12:00:00\n")
    imported = first.run_here("labels", "import", str(labels))
    assert "1 of its 1 thread is not in the database" in imported.stdout
    assert first.run_here("backup", str(tmp_path / "file")).returncode == 0
    refused = second.run_here("restore", str(tmp_path / "file"), "--only", "models")
    assert "holds no models; it holds ledgers." in refused.stderr
    second.home.mkdir(exist_ok=True)
    with instance_lock(second.home):
        refused = second.run_here("restore", str(tmp_path / "file"))
    assert f"{second.home} is already in use by process {os.getpid()}" in refused.stderr
    assert not (second.home / "ledgers").exists()
    assert second.run_here("restore", str(tmp_path / "file")).returncode == 0
    assert World(second.home).labels.count() == 1


def test_a_new_ledger_is_begun_where_that_is_meant(world: World) -> None:
    (world.home / "ledgers" / "pods.sqlite").unlink()
    (begun,) = repair.accept(world.database, world.home)
    assert begun.path.name == "pods.sqlite"
    assert repair.find_damage(world.database, world.home) == []
    assert PodLedger(world.home / "ledgers" / "pods.sqlite").spent().pods == 0


def test_a_damaged_ledger_log_is_not_opened_and_its_sound_commits_are_kept(world: World, tmp_path: Path) -> None:
    path = world.home / "ledgers" / "labels.sqlite"
    leave_ledger_log(path)
    log = Path(f"{path}-wal")
    flip(log, log.stat().st_size * 2 // 3)
    with pytest.raises(Exception, match="bizcharts repair"):
        world.labels.count()
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == log
    (done,) = repair.set_aside(world.database, world.home, NOW)
    assert done.kept is not None
    assert len(world.labels.standing()) == 40
    with closing(sqlite3.connect(path)) as connection:
        assert 0 < connection.execute("SELECT count(*) FROM more").fetchone()[0] < 6
    assert is_sound(world, tmp_path / "file")


def test_a_log_of_another_ledger_is_not_replayed(world: World, tmp_path: Path) -> None:
    other = make_world(tmp_path / "other", 2)
    leave_ledger_log(other.home / "ledgers" / "labels.sqlite")
    log = world.home / "ledgers" / "labels.sqlite-wal"
    log.write_bytes((other.home / "ledgers" / "labels.sqlite-wal").read_bytes())
    with pytest.raises(Exception, match=r"labels\.sqlite-wal belongs to another"):
        world.labels.count()
    repair.set_aside(world.database, world.home, NOW)
    assert len(world.labels.standing()) == 40
    assert is_sound(world, tmp_path / "file")


def test_looking_changes_nothing_and_a_damaged_model_is_moved_away(world: World, tmp_path: Path) -> None:
    model = next(world.home.glob("models/*/weights.json"))
    flip(model, 10)
    before = {name: value for name, value in tree(world.home).items() if not name.endswith((".lock", "-shm", "-wal"))}
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == model.parent
    assert before.items() <= tree(world.home).items()
    (done,) = repair.set_aside(world.database, world.home, NOW)
    assert done.kept is not None
    assert done.kept.is_dir()
    assert is_sound(world, tmp_path / "file")


def test_a_problem_is_said_in_words_and_the_advice_once(world: World) -> None:
    manifest = next(world.home.glob("datasets/sharegpt-*/manifest.json"))
    manifest.unlink()
    (missing,) = repair.find_damage(world.database, world.home)
    assert missing.problem == f"{manifest.parent}: it cannot be read (manifest.json: No such file or directory)."
    manifest.mkdir()
    (folder,) = repair.find_damage(world.database, world.home)
    assert (
        folder.problem == f"{manifest.parent}: it cannot be read (manifest.json: it is a folder, not a regular file)."
    )
    content = bytearray(world.database.path.read_bytes())
    content[:4096] = bytes(4096)
    world.database.path.write_bytes(content)
    problems = [damage.problem for damage in repair.find_damage(world.database, world.home)]
    assert sum(text.count("bizcharts restore") for text in problems) == 1


@pytest.mark.slow
def test_an_older_label_ledger_is_named_by_repair_and_health_with_what_to_do(world: World, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(world.labels.path.parent, old)
    count = world.labels.count()
    for thread_id in (901, 902):
        world.add_label(thread_id)
    materialise_labels(world.database, world.labels, NOW)
    assert repair.find_damage(world.database, world.home) == []
    shutil.rmtree(world.labels.path.parent)
    shutil.copytree(old, world.labels.path.parent)
    (damage,) = repair.find_damage(world.database, world.home)
    assert f"{world.labels.path} lacks 2 labels of the database" in damage.problem
    assert "`bizcharts labels restore`" in damage.problem
    installation = Installation(
        tmp_path / "installation", "http://127.0.0.1:9", extra={"BIZCHARTS_HOME": str(world.home)}
    )
    checks = {each["what"]: each for each in json.loads(installation.run_here("health", "--json").stdout)}
    assert checks["label ledger"] == {"what": "label ledger", "ok": False, "detail": damage.problem}
    with pytest.raises(LedgerLost, match="lacks 2 labels"):  # which would remove the last copy of them
        require_ledger(world.database, world.labels)
    assert installation.run_here("labels", "restore").returncode == 0
    assert world.labels.count() == count + 2
    assert repair.find_damage(world.database, world.home) == []


@pytest.mark.parametrize("content", [b"", b"\0" * 72, b"0123456789abcdef"])
@pytest.mark.parametrize("name", ["bizcharts.duckdb.closed", "ledgers/labels.sqlite.seal"])
def test_a_damaged_seal_is_named_and_can_be_accepted(world: World, tmp_path: Path, name: str, content: bytes) -> None:
    seal = world.home / name
    assert seal.exists()
    seal.write_bytes(content)
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.problem.startswith(f"{seal} is damaged, so {seal.stem} cannot be checked for changes")
    assert damage.accept
    with pytest.raises(BizchartsError, match=re.escape(f"{seal} is damaged")):
        create(world.database, world.home, tmp_path / "none", NOW)
    assert not (tmp_path / "none").exists()
    repair.accept(world.database, world.home)
    assert is_sound(world, tmp_path / "file")


@pytest.mark.parametrize("how", ["missing", "empty", "dangling link"])
def test_a_database_that_is_lost_after_a_kill_is_named(world: World, tmp_path: Path, how: str) -> None:
    Path(f"{world.database.path}.closed").unlink()
    world.database.path.unlink()
    if how == "empty":
        world.database.path.touch()
    elif how == "dangling link":
        world.database.path.symlink_to(tmp_path / "nowhere")
    assert ["missing or empty" in damage.problem for damage in repair.find_damage(world.database, world.home)] == [True]


@pytest.mark.parametrize("how", ["cut in a block", "cut between blocks", "zeros"])
def test_a_damaged_database_is_not_reported_as_a_damaged_log(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(checkpoints, "checkpoint", lambda connection, path: connection.close())
    with world.database.write() as connection:  # to replay this, DuckDB reads blocks of the database
        connection.execute("UPDATE thread_ops SET subject = 'changed'")
    path, log = world.database.path, wal(world.database.path).read_bytes()
    content = path.read_bytes()
    half = 12_288 + (len(content) // 262_144 // 2) * 262_144
    kept = content[: half + (999 if how == "cut in a block" else 0)]
    path.write_bytes(kept + bytes(len(content) - half if how == "zeros" else 0))
    (damage,) = repair.find_damage(world.database, world.home)
    assert damage.path == path
    assert f"{path} is damaged" in damage.problem
    assert damage.set_aside is None
    assert repair.set_aside(world.database, world.home, NOW) == []
    assert wal(path).read_bytes() == log


def test_a_refused_restore_creates_no_home(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no backup")
    new = World(tmp_path / "new")
    with pytest.raises(BizchartsError, match="not a valid backup"):
        restore(new.database, new.home, tmp_path / "file", NOW)
    assert not new.home.exists()
