"""An installation that was moved to another database: whatever still names the old one is refused, and nothing that was
written is left behind."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from forked import ForkedProcess, run_bizcharts
from installation import Installation
from pods.small_disk import fill, small_disk
from postgres import Postgres

from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger, AutoLabelLedgerError
from bizcharts_pipeline.core import run_locks
from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import Label, LabelLedger, LedgerError
from bizcharts_pipeline.moving import home as moving
from bizcharts_pipeline.settings import postgres_words
from bizcharts_pipeline.warehouse import lake as lake_module
from bizcharts_pipeline.warehouse import swap
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable, MoveFailed
from bizcharts_pipeline.warehouse.lake import Lake

NOW = datetime(2026, 3, 2, 12)
ROUNDS = 6  # of disturbances in each direction
COMMANDS = (["stats"], ["labels", "stats"], ["poll", "--once"], ["pods", "list"], ["health"])


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(3, NOW - timedelta(days=1), 2), now=NOW) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, board: SimulatedBoard) -> Iterator[Installation]:
    installation = installed(tmp_path / "here", board)
    yield installation
    for home in (installation.home, tmp_path / "there" / "home"):
        keep_in_postgres(home, None)


def installed(folder: Path, board: SimulatedBoard) -> Installation:
    """An installation on a file, with a poll and a label."""
    installation = Installation(folder, board.url)
    assert installation.run_here("poll", "--once", now=NOW).returncode == 0
    LabelLedger(installation.home / LABELS).append([label(1)])
    return installation


def label(thread: int) -> Label:
    return Label(thread, 3, "ann", NOW)


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        return read_contents(connection)


def migrate(here: Installation, target: str) -> subprocess.CompletedProcess[str]:
    return here.run_here("migrate", "--to", target, now=NOW)


def usable(here: Installation, *names: str) -> list[str]:
    """Return the databases that the installation's commands use."""
    kept = dict(here.extra)
    try:
        found = []
        for name in names:
            here.extra["BIZCHARTS_DATABASE"] = name
            if here.run_here("stats", now=NOW).returncode == 0:
                found.append(name)
        return found
    finally:
        here.extra = kept


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any) -> None:
        raise error

    return fail


def refused(here: Installation, target: str) -> None:
    """Every command of the installation names the database that is used now."""
    for command in COMMANDS:
        done = here.run_here(*command, now=NOW)
        assert done.returncode, (command, done.stdout)
        assert f"Set BIZCHARTS_DATABASE to {target}" in done.stdout + done.stderr, command


def test_a_file_that_was_left_for_a_lake_is_refused_wherever_it_is_found(
    here: Installation, postgres: Postgres, tmp_path: Path
) -> None:
    lake, home = postgres.new_lake(), here.home
    before = contents(here.database)
    used = (LabelLedger(home / LABELS), here.database)  # by a labeller and a poll that were not stopped
    moved = migrate(here, lake)
    assert moved.returncode == 0, moved.stderr
    assert contents(Database.named(lake, home, 30)) == before
    keep_in_postgres(home, None)
    with pytest.raises(LedgerError, match=f"was moved to {lake}"):
        used[0].append([label(2)])
    with pytest.raises(DatabaseUnavailable, match=f"was moved to {lake}"):
        Database.named(str(home / "bizcharts.duckdb"), home, 30).migrate()
    refused(here, lake)
    shutil.copytree(home, tmp_path / "copied" / "home")
    refused(Installation(tmp_path / "copied", here.board_url), lake)
    kept = sorted(home.glob("bizcharts.duckdb.before-move-*"))
    here.extra["BIZCHARTS_DATABASE"] = str(kept[0])
    refused(here, lake)
    del here.extra["BIZCHARTS_DATABASE"]
    assert "are databases of the same kind" in migrate(here, str(tmp_path / "other.duckdb")).stderr
    assert f"was moved to {lake}" in migrate(here, postgres.new_lake()).stderr
    assert migrate(here, lake).returncode == 0, "repeated, it finds all done"
    assert contents(Database.named(str(kept[0]), None, 30)) == before
    assert not (home / "bizcharts.duckdb").exists()
    assert not (home / LABELS).exists()


def test_a_lake_that_was_left_for_a_file_is_refused_on_every_machine_and_by_every_spelling(
    here: Installation, postgres: Postgres, tmp_path: Path
) -> None:
    lake, file = postgres.new_lake(), str(here.home / "bizcharts.duckdb")
    assert migrate(here, lake).returncode == 0
    there = Installation(tmp_path / "there", here.board_url, lake=lake)
    assert there.run_here("stats", now=NOW).returncode == 0
    attached = there.database
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert f"{lake} and {lake.replace('127.0.0.1', 'localhost')} are databases" in (
        migrate(here, lake.replace("127.0.0.1", "localhost")).stderr
    )
    keep_in_postgres(there.home, postgres_words(lake))
    with AutoLabelLedger(there.home / AUTO_LABELS) as paid:
        back = migrate(here, file)
        assert back.returncode == 0, back.stderr
        with pytest.raises(AutoLabelLedgerError, match=f"was moved to {file}"), paid.transaction():
            pass
    for name in (lake, lake.replace("127.0.0.1", "localhost"), f"{lake} sslmode=prefer"):
        for machine in (here, there):
            machine.extra["BIZCHARTS_DATABASE"] = name
            refused(machine, file)
    for use in (attached.read, attached.write):
        with pytest.raises(DatabaseUnavailable, match=f"was moved to {file}"), use():
            pass
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert migrate(here, file).returncode == 0, "repeated, it finds all done"
    del here.extra["BIZCHARTS_DATABASE"]  # the file is at its first place, and used again
    assert here.run_here("poll", "--once", now=NOW + timedelta(minutes=1)).returncode == 0
    assert "1 label" in here.run_here("labels", "stats", now=NOW).stdout


def test_nothing_is_moved_while_a_run_is_in_progress(here: Installation, postgres: Postgres) -> None:
    lake = postgres.new_lake()
    with run_locks.alive(here.home / "runs", "a-run"):
        waits = migrate(here, lake)
        assert (waits.returncode, waits.stderr.count("\n")) == (1, 1)
        assert "Runs are in progress (a-run)" in waits.stderr
    assert migrate(here, lake).returncode == 0
    here.extra["BIZCHARTS_DATABASE"] = lake
    script = (
        "import sys; from pathlib import Path; from bizcharts_pipeline.core import ledgers; home = Path(sys.argv[1])\n"
        "ledgers.keep_in_postgres(home, sys.argv[2])\n"
        "with ledgers.alive(home / 'runs', 'a-run'): print('runs', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(here.home), postgres_words(lake)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin
        assert run.stdout
        assert run.stdout.readline() == "runs\n"
        waits = migrate(here, str(here.home / "bizcharts.duckdb"))
        run.stdin.close()
    assert (waits.returncode, waits.stderr.count("\n")) == (1, 1)
    assert f"Runs are in progress (bizcharts {socket.gethostname()} {run.pid})" in waits.stderr
    assert migrate(here, str(here.home / "bizcharts.duckdb")).returncode == 0


def test_ledgers_that_were_left_in_files_beside_a_lake_are_not_used_after_they_were_moved_to_it(
    here: Installation, postgres: Postgres, tmp_path: Path
) -> None:
    lake = postgres.new_lake()
    Database.named(lake, tmp_path / "there", 30).migrate()
    here.extra["BIZCHARTS_DATABASE"] = lake  # the file, and its ledgers, are still there
    assert here.run_here("poll", "--once", now=NOW).returncode == 0
    assert "was not moved there yet" in here.run_here("labels", "stats", now=NOW).stderr
    for _ in ("moved", "repeated"):
        assert migrate(here, lake).returncode == 0
        assert "1 label" in here.run_here("labels", "stats", now=NOW).stdout
    assert list(here.home.glob("ledgers/before-move-*/labels.sqlite"))
    del here.extra["BIZCHARTS_DATABASE"]
    refused(here, lake)


def test_a_lake_whose_server_restarts_while_it_is_copied_stays_in_use(
    here: Installation, board: SimulatedBoard, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, file = postgres.new_lake(), str(here.home / "bizcharts.duckdb")
    assert migrate(here, lake).returncode == 0
    here.extra["BIZCHARTS_DATABASE"] = lake
    copy = moving.copy_ledgers

    def restart_after(*arguments: Any) -> Any:
        copied = copy(*arguments)
        postgres.kill()
        postgres.start()
        LabelLedger(here.home / LABELS).append([label(2)])  # its lock was free
        return copied

    monkeypatch.setattr(moving, "copy_ledgers", restart_after)
    lost = migrate(here, file)
    assert (lost.returncode, lost.stderr.count("\n")) == (1, 1)
    monkeypatch.undo()
    assert usable(here, lake, file) == [lake]
    here.extra["BIZCHARTS_DATABASE"] = file
    assert "is not complete" in migrate(here, lake).stderr
    here.extra["BIZCHARTS_DATABASE"] = lake
    board.now += timedelta(minutes=1)  # the lake goes on
    assert here.run_here("poll", "--once", now=board.now).returncode == 0
    assert migrate(here, file).returncode == 0
    assert usable(here, lake, file) == [file]
    keep_in_postgres(here.home, None)
    assert [each.thread_id for each in LabelLedger(here.home / LABELS).standing()] == [1, 2]
    assert here.query("SELECT count(*) FROM catalog_snapshots") == [(2,)]


def test_a_lake_is_not_left_for_a_file_that_has_no_room(here: Installation, postgres: Postgres, tmp_path: Path) -> None:
    lake, small = postgres.new_lake(), tmp_path / "small"
    before = contents(here.database)
    assert migrate(here, lake).returncode == 0
    here.extra["BIZCHARTS_DATABASE"] = lake
    for kilobytes in (1_000, 2_000, 3_000, 4_000):
        with small_disk(small, kilobytes):
            full = migrate(here, str(small / "x.duckdb"))
            assert (full.returncode, full.stderr.count("\n")) == (1, 1), full.stdout
            assert "disk is full" in full.stderr
            assert usable(here, lake, str(small / "x.duckdb")) == [lake]
    with small_disk(small, 100_000):
        assert migrate(here, str(small / "x.duckdb")).returncode == 0
        assert contents(Database.named(str(small / "x.duckdb"), None, 30)) == before


def test_a_lake_that_was_not_completed_is_filled_anew_after_the_file_went_on(
    here: Installation, board: SimulatedBoard, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = postgres.new_lake()
    monkeypatch.setattr(swap, "swap", raising(MoveFailed("after all is copied")))
    assert migrate(here, lake).returncode == 1
    monkeypatch.undo()
    assert usable(here, lake, "") == [""]
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert "is not complete" in migrate(here, lake).stderr
    here.extra["BIZCHARTS_DATABASE"] = ""
    board.now += timedelta(minutes=1)
    assert here.run_here("poll", "--once", now=board.now).returncode == 0
    LabelLedger(here.home / LABELS).append([label(2)])
    before = contents(here.database)
    assert migrate(here, lake).returncode == 0
    assert usable(here, lake, "") == [lake]
    assert contents(Database.named(lake, here.home, 30)) == before
    keep_in_postgres(here.home, postgres_words(lake))
    assert [each.thread_id for each in LabelLedger(here.home / LABELS).standing()] == [1, 2]


def test_a_move_is_not_called_done_if_what_it_filled_was_emptied(here: Installation, postgres: Postgres) -> None:
    lake, before = postgres.new_lake(), contents(here.database)
    assert migrate(here, lake).returncode == 0
    database = lake.split("dbname=")[1].split()[0]
    postgres.query(f"DROP DATABASE {database} WITH (FORCE)")
    postgres.query(f"CREATE DATABASE {database}")
    lake_module._attached.clear()
    repeated = migrate(here, lake)
    assert (repeated.returncode, repeated.stderr.count("\n")) == (1, 1)
    assert f"was moved to {lake}, which is empty now" in repeated.stderr
    here.extra["BIZCHARTS_DATABASE"] = lake
    lost = here.run_here("poll", "--once", now=NOW)
    assert (lost.returncode, lost.stderr.count("\n")) == (1, 1)
    assert "PostgreSQL has no lake there, but this installation has had one" in lost.stderr
    del here.extra["BIZCHARTS_DATABASE"]
    # As the document says:
    for kept in (here.home / "ledgers").glob("before-move-*/*"):
        kept.rename(here.home / "ledgers" / kept.name)
    for kept in here.home.glob("bizcharts.duckdb.before-move-*"):
        kept.rename(here.home / f"bizcharts.duckdb{kept.name.partition('before-move-')[2][15:]}")
    for note in here.home.glob("*.moved"):
        note.unlink()
    assert contents(here.database) == before
    done = here.run_here("migrate", "--to", lake, "--files", str(here.folder / "new"), now=NOW)
    assert done.returncode == 0, done.stderr


def test_a_lake_that_was_left_is_not_emptied_by_a_move_to_it(here: Installation, postgres: Postgres) -> None:
    lake, file = postgres.new_lake(), str(here.home / "bizcharts.duckdb")
    assert migrate(here, lake).returncode == 0
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert migrate(here, file).returncode == 0
    here.extra["BIZCHARTS_DATABASE"] = file
    assert "name a new database. Nothing was moved" in migrate(here, lake).stderr
    database = lake.split("dbname=")[1].split()[0]
    assert postgres.query("SELECT count(*) FROM labels.labels", database) == "1"


def test_a_lake_that_does_not_exist_yet_is_not_taken_for_the_present_one(
    here: Installation, board: SimulatedBoard, postgres: Postgres
) -> None:
    lake, before = postgres.new_lake(), contents(here.database)
    here.extra["BIZCHARTS_DATABASE"] = lake  # a step too early
    assert "PostgreSQL has no lake there" in migrate(here, lake).stderr
    polled = here.run_here("poll", "--once", now=NOW)
    assert (polled.returncode, polled.stderr.count("\n")) == (1, 1)
    assert "run `bizcharts migrate --to` with this address" in polled.stderr
    del here.extra["BIZCHARTS_DATABASE"]
    assert migrate(here, lake).returncode == 0
    assert contents(Database.named(lake, here.home, 30)) == before


def test_a_file_that_stays_behind_when_the_ledgers_follow_to_a_lake_is_named(
    here: Installation, postgres: Postgres, tmp_path: Path
) -> None:
    lake = postgres.new_lake()
    Database.named(lake, tmp_path / "there", 30).migrate()
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert "bizcharts.duckdb was not moved, as the lake exists already" in migrate(here, lake).stdout


def test_another_home_neither_replaces_what_a_killed_move_has_left_nor_ends_that_move(
    here: Installation, board: SimulatedBoard, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, other = postgres.new_lake(), installed(tmp_path / "other", board)
    before = contents(here.database)
    monkeypatch.setattr(Lake, "end_move", lambda self: os.kill(os.getpid(), signal.SIGKILL))
    if not (child := os.fork()):  # all is copied, and the file was left
        migrate(here, lake)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    monkeypatch.undo()
    refused_to_other = migrate(other, lake)
    assert f"in the home {here.home} on" in refused_to_other.stderr
    assert (refused_to_other.returncode, refused_to_other.stderr.count("\n")) == (1, 1)
    assert usable(other, lake, "") == [""]
    assert migrate(here, lake).returncode == 0
    assert contents(Database.named(lake, here.home, 30)) == before
    keep_in_postgres(other.home, None)


def test_a_home_that_has_used_a_lake_begins_neither_a_database_nor_a_ledger_after_another_has_moved_it_to_a_file(
    here: Installation, board: SimulatedBoard, postgres: Postgres, tmp_path: Path
) -> None:
    lake, file = postgres.new_lake(), str(here.home / "back.duckdb")
    assert migrate(here, lake).returncode == 0
    there = Installation(tmp_path / "there", board.url, lake=lake)
    assert "1 label" in there.run_here("labels", "stats", now=NOW).stdout
    here.extra["BIZCHARTS_DATABASE"] = lake
    assert migrate(here, file).returncode == 0
    there.lake = ""
    for name, says in (
        (lake, f"in the home {here.home} on"),
        (file, "it is in PostgreSQL. Set BIZCHARTS_DATABASE to the lake; if another home has moved"),
        ("", "this installation has had one"),
        (str(tmp_path / "nowhere.duckdb"), "this installation has had one"),
    ):
        there.extra["BIZCHARTS_DATABASE"] = name
        for command in (["poll", "--once"], ["labels", "stats"]) if name != file else (["labels", "stats"],):
            done = there.run_here(*command, now=NOW)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), (name, command, done.stdout)
            assert says in done.stderr or command[0] == "labels", (name, command)
    there.extra["BIZCHARTS_DATABASE"] = lake
    assert "which alone uses it now" in migrate(there, file).stderr
    assert not (there.home / "ledgers" / "labels.sqlite").exists()
    assert not (there.home / "bizcharts.duckdb").exists()
    assert not (tmp_path / "nowhere.duckdb").exists()
    keep_in_postgres(there.home, None)


def killed(move: ForkedProcess, postgres: Postgres, disk: Path) -> None:
    move.kill()


def stopped(move: ForkedProcess, postgres: Postgres, disk: Path) -> None:
    """Stop it while another one is started, which has to refuse."""
    if move.poll() is None:
        move.send_signal(signal.SIGSTOP)


def cut_off(move: ForkedProcess, postgres: Postgres, disk: Path) -> None:
    postgres.kill()
    postgres.start()


def filled(move: ForkedProcess, postgres: Postgres, disk: Path) -> None:
    fill(disk / "ballast")


REPEATED = "the old database is in use, or the new one; repeated: moved"


def test_a_ledger_that_would_begin_during_a_move_begins_in_the_lake_only(
    here: Installation, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, copy = postgres.new_lake(), moving.copy_ledgers
    begun = "from pathlib import Path; import sys\n"
    begun += "from bizcharts_pipeline.core.ledgers import connect\n"
    begun += "connect(Path(sys.argv[1])).execute('CREATE TABLE t (a)')\n"
    path = here.home / AUTO_LABELS
    assert not path.exists()
    waiting: list[subprocess.Popen[str]] = []

    def begin_and_copy(*arguments: Any) -> Any:
        command = [sys.executable, "-c", begun, str(path)]
        waiting.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        time.sleep(1)
        return copy(*arguments)

    monkeypatch.setattr(moving, "copy_ledgers", begin_and_copy)
    assert migrate(here, lake).returncode == 0
    _, said = waiting[0].communicate(timeout=60)
    assert f"was moved to {lake}" in said.splitlines()[-1]
    assert not path.exists()


def test_ledgers_on_another_disk_are_moved_and_a_disk_that_cannot_be_renamed_is_named_before_anything_is_changed(
    here: Installation, postgres: Postgres, tmp_path: Path
) -> None:
    lake = postgres.new_lake()
    with small_disk(tmp_path / "disk", 10_000):
        (here.home / "ledgers").rename(tmp_path / "ledgers")
        shutil.copytree(tmp_path / "ledgers", tmp_path / "disk" / "ledgers")
        (here.home / "ledgers").symlink_to(tmp_path / "disk" / "ledgers")
        done = migrate(here, lake)
        assert done.returncode == 0, done.stderr
        assert list((tmp_path / "disk" / "ledgers").glob("before-move-*/labels.sqlite"))
        other = Path(f"{here.home}.other")
        with pytest.raises(OSError, match="cross-device"):
            swap.swap(here.home / "x.duckdb", [swap.Move(None, tmp_path / "disk" / "ledgers", other)])
        assert not swap.journal(here.home / "x.duckdb").exists()


def run_killed(what: str, call: int, words: tuple[str, ...]) -> None:
    """Run the command line, and kill -9 it before the ``call``-th call of ``what``, by which files are renamed."""
    owner = swap.os if what == "rename" else swap
    calls, real = count(1), getattr(owner, what)

    def kill_or_call(*arguments: Any) -> object:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    with patch.object(owner, what, kill_or_call):
        run_bizcharts(*words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "call"),
    [
        *(("write_atomically", call) for call in (1, 2, 3)),  # the marker, the journal, the marker again
        *(("rename", call) for call in range(1, 6)),
        *(("sync", call) for call in (1, 3)),
    ],
)
def test_a_label_that_is_given_after_the_kill_of_a_move_is_in_the_database_that_is_used_then(
    here: Installation, postgres: Postgres, what: str, call: int
) -> None:
    lake, ledger = postgres.new_lake(), here.home / LABELS
    words = (what, call, ("migrate", "--to", lake))
    move = ForkedProcess(run_killed, words, folder=here.folder, environment=here.environment(NOW))
    move.communicate(timeout=120)
    assert move.returncode == -signal.SIGKILL
    given = [1]
    with suppress(LedgerError):
        LabelLedger(ledger, busy_seconds=0).append([label(2)])
        given.append(2)
    if given == [1]:
        repaired = here.run_here("repair", now=NOW)
        assert f"was moved to {lake}" in repaired.stdout + repaired.stderr
    (used,) = usable(here, "", lake) or [lake]
    done = migrate(here, lake)
    assert done.returncode == 0, done.stderr
    keep_in_postgres(here.home, postgres_words(lake))
    assert [each.thread_id for each in LabelLedger(ledger).standing()] == given
    assert used == "" or given == [1]
    assert not list(here.home.glob("*.restoring"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(killed, marks=pytest.mark.fault("SIGKILL", stage="move", expected=REPEATED)),
        pytest.param(
            stopped,
            marks=pytest.mark.fault("SIGSTOP", stage="move", expected="another one refuses; after SIGCONT: moved"),
        ),
        pytest.param(cut_off, marks=pytest.mark.fault("dropped network", stage="move", expected=REPEATED)),
        pytest.param(filled, marks=pytest.mark.fault("ENOSPC", stage="move", expected=REPEATED)),
    ],
)
def test_a_move_of_a_home_that_is_disturbed_at_any_moment_is_completed_by_the_next(
    tmp_path: Path,
    board: SimulatedBoard,
    postgres: Postgres,
    disturb: Callable[[ForkedProcess, Postgres, Path], None],
) -> None:
    with small_disk(tmp_path / "disk", 100_000):
        here = installed(tmp_path / "disk", board)
        lake, file = postgres.new_lake(), str(here.home / "bizcharts.duckdb")
        before, chance = contents(here.database), random.Random(7)
        for source, target in (("", lake), (lake, file)):
            here.extra["BIZCHARTS_DATABASE"] = source
            for _ in range(ROUNDS):
                words = ("migrate", "--to", target)
                move = ForkedProcess(run_bizcharts, words, folder=here.folder, environment=here.environment(NOW))
                time.sleep(chance.uniform(0.2, 2))
                disturb(move, postgres, tmp_path / "disk")
                if disturb is stopped and move.poll() is None:
                    second = migrate(here, target)
                    assert (second.returncode == 0) or second.stderr.count("\n") == 1, second.stderr
                    move.send_signal(signal.SIGCONT)
                _, said = move.communicate(timeout=120)
                # DuckDB ends a process whose ROLLBACK fails while it handles another error.
                ended = disturb is killed or (disturb is cut_off and move.returncode == -signal.SIGABRT)
                assert ended or move.returncode == 0 or said.count("\n") == 1, said
                assert disturb is not stopped or move.returncode == 0, said
                (tmp_path / "disk" / "ballast").unlink(missing_ok=True)
                assert len(usable(here, source, target)) <= 1
            done = migrate(here, target)
            assert done.returncode == 0, done.stderr
            assert usable(here, source, target) == [target]
            assert contents(Database.named(target, here.home, 30)) == before
            keep_in_postgres(here.home, postgres_words(lake) if target == lake else None)
            assert [each.thread_id for each in LabelLedger(here.home / LABELS).standing()] == [1]
        keep_in_postgres(here.home, None)
