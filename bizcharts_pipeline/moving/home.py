"""Moves an installation from one kind of database to another: from a DuckDB file to a lake, or back.

While tables and ledgers are copied, no process can write to them, and none can use the new database. Then the old one
is left in one step: files are set aside, with notes in their place; in PostgreSQL a table says where they went. So
whatever still names the old database, on any machine and by any spelling, is refused. A killed move leaves the old one
in use, or none until the move is repeated.
"""

import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import Error as LedgerError

from bizcharts_pipeline.backup.drafts import clean_up, new_draft
from bizcharts_pipeline.core import moved, run_locks
from bizcharts_pipeline.core.files import read_regular, write_atomically
from bizcharts_pipeline.core.postgres import others_at_work
from bizcharts_pipeline.core.sqlite_seal import FOLDER, set_aside_names
from bizcharts_pipeline.moving.ledgers import (
    LEDGERS,
    CopiedLedgers,
    check_new,
    check_target,
    clear,
    copy_ledgers,
    opened_ledgers,
)
from bizcharts_pipeline.service.serve import instance_lock, no_daemon
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import MoveFailed
from bizcharts_pipeline.warehouse.installation import DATABASE
from bizcharts_pipeline.warehouse.moving import Copied, copy_tables

MOVER = "move.id"  # in the home


@dataclass(frozen=True)
class Left:
    """A database that is not used any more, the one that replaces it, and the path that a file is kept at."""

    source: str
    target: str
    kept: Path | None

    def __str__(self) -> str:
        kept = f", which is kept as {self.kept}" if self.kept else ""
        return f"Set BIZCHARTS_DATABASE to {self.target}. No command uses the old database any more{kept}."


@dataclass(frozen=True)
class NotMoved:
    """A database of the home that was left where it is."""

    file: Path

    def __str__(self) -> str:
        return (
            f"{self.file} was not moved, as the lake exists already; no command uses it any more. If its rows are not "
            "in the lake, move the ledgers back (docs/operating.md, 'Many machines'), and move all to a new lake."
        )


Done = Copied | CopiedLedgers | Left | NotMoved


def move_home(settings: Settings, target: Settings, now: datetime) -> list[Done]:
    """Move the installation of ``settings`` to the database of the settings ``target``; with the address of the lake
    that it has already, move only ledgers that are still files.

    A killed move is completed. ``now`` is naive UTC.

    Raises:
        MoveFailed, LedgersNotMoved: names the reason; the old database is still the one in use.
        ServiceError: a service runs.
        DatabaseError: one of the two cannot be used; or the old one was moved to another one before.
    """
    home, source, new = settings.home_path, Database.configured(settings), Database.configured(target)
    if source.name == new.name and target.postgres is not None:
        source.require()
        with source.read():
            pass  # it is complete, and was not moved
        return _move_ledgers_to_present_lake(settings, target.postgres, now)
    if type(source) is type(new):
        raise MoveFailed(
            f"{source.name} and {new.name} are databases of the same kind; `bizcharts migrate` moves between a file "
            "and a lake. Nothing was moved."
        )
    # Another home's move to the same lake would delete what this one fills.
    with instance_lock(home), no_daemon(settings.postgres), no_daemon(target.postgres), ExitStack() as stack:
        for either in (source, new):
            if isinstance(either, DatabaseFile):
                clean_up(either, home)  # the renames of a killed move are completed
        mover = _mover(home)
        _refuse_move_of_another(source, new, mover)
        if (left := source.note()) and left.target == new.name:
            if not new.exists():
                raise MoveFailed(
                    f"{source.name} was moved to {new.name}, which is empty now. docs/operating.md, 'Many machines', "
                    "says how to go on with the old one as it was; then move it again."
                )
            new.end_move()
            return [Left(source.name, new.name, None)]
        source.require()
        if target.postgres is not None:  # before anything is written there
            with new_draft(home) as draft:
                check_target(target.postgres, draft.folder)
        tables = stack.enter_context(new_draft(home))
        move_ledgers = settings.postgres != target.postgres
        ledgers = stack.enter_context(opened_ledgers(home, settings.postgres)) if move_ledgers else {}
        held = stack.enter_context(source.held(tables.folder, [below.stem for below in LEDGERS]))
        _refuse_runs(settings, source)
        if target.postgres is not None and (begun := new.note()) and begun.is_unfinished:
            clear(target.postgres)
        elif target.postgres is not None:
            check_new(target.postgres)
        new = new.begin_move(source.name, mover)
        done: list[Done] = [copy_tables(held.connection, new, tables.folder)]
        if move_ledgers:
            draft = stack.enter_context(new_draft(home))
            done.append(copy_ledgers(ledgers, home, target.postgres, draft.folder, now))
        kept = held.leave(new.name, tuple(ledgers), now, mover)
        new.end_move()
    return [*done, Left(source.name, new.name, kept)]


def _move_ledgers_to_present_lake(settings: Settings, words: str, now: datetime) -> list[Done]:
    home, lake = settings.home_path, settings.database_name
    done: list[Done] = []
    with instance_lock(home), no_daemon(words), ExitStack() as stack:
        if (left := moved.read_note(home / FOLDER)) and left.target == lake:  # a killed move is completed
            ledgers = [home / below for below in LEDGERS]
        else:
            held = stack.enter_context(opened_ledgers(home, None))
            _refuse_runs(settings, Database.configured(settings))
            draft = stack.enter_context(new_draft(home))
            done.append(copy_ledgers(held, home, words, draft.folder, now))
            if held:
                moved.write_note(home / FOLDER, moved.moved(str(home / FOLDER), lake, now))
            ledgers = list(held)
        for name, kept in (names for path in ledgers for names in set_aside_names(path, now)):
            if name.exists():
                kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                name.replace(kept)
    done.append(Left(str(home / FOLDER), lake, None))
    file = home / DATABASE
    return [*done, *([NotMoved(file)] if file.exists() and moved.read_note(file) is None else [])]


def _mover(home: Path) -> str:
    """Return what names ``home`` among all homes on all machines, for people and for comparison."""
    file = home / MOVER
    if not file.exists():
        write_atomically(file, secrets.token_hex(4).encode())
    return f"the home {home} on {socket.gethostname()} (move {read_regular(file).decode()})"


def _refuse_move_of_another(source: Database, new: Database, mover: str) -> None:
    """Refuse to replace what another home has moved, or to say that this one has."""
    identity = mover[mover.rindex("(") :]
    left, begun = source.note(), new.note()
    if begun and begun.is_unfinished and identity not in begun.message:
        raise MoveFailed(f"{begun.message} Or name a new database. Nothing was moved.")
    if left and left.target == new.name and not isinstance(source, DatabaseFile) and identity not in left.message:
        raise MoveFailed(left.message)


def _refuse_runs(settings: Settings, database: Database) -> None:
    if settings.postgres is None:
        at_work = run_locks.active(database.runs)
    else:
        try:
            at_work = others_at_work(settings.postgres)
        except LedgerError as error:
            raise MoveFailed(f"{database.name}: {error}") from None
    if at_work:
        raise MoveFailed(
            f"Runs are in progress ({', '.join(at_work)}); wait until they have ended, or stop them. Nothing was moved."
        )
