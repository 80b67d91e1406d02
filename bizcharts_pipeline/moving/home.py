"""Moves an installation from one kind of database to another: from a DuckDB file to a lake, or back.

While tables and ledgers are copied, no process can write to them, and none can use the new database. Then the old one
is left in one step: files are set aside, with notes in their place; in PostgreSQL a table says where they went. So
whatever still names the old database, on any machine and by any spelling, is refused. A killed move leaves the old one
in use, or none until the move is repeated.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import Error as LedgerError

from bizcharts_pipeline.backup.drafts import clean_up, new_draft
from bizcharts_pipeline.core import moved, run_locks
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.core.postgres import others_at_work
from bizcharts_pipeline.core.sqlite_seal import FOLDER, set_aside_names
from bizcharts_pipeline.moving.ledgers import (
    LEDGERS,
    CopiedLedgers,
    check_new,
    check_target,
    clear,
    copy_ledgers,
    held_ledgers,
    is_held,
)
from bizcharts_pipeline.service.serve import instance_lock, no_daemon
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import MoveFailed
from bizcharts_pipeline.warehouse.moving import Copied, copy_tables


@dataclass(frozen=True)
class Left:
    """A database that is not used any more, the one that replaces it, and the path that a file is kept at."""

    source: str
    target: str
    kept: Path | None

    def __str__(self) -> str:
        kept = f", which is kept as {self.kept}" if self.kept else ""
        return f"Set BIZCHARTS_DATABASE to {self.target}. No command uses the old database any more{kept}."


def move_home(settings: Settings, target: Settings, now: datetime) -> list[Copied | CopiedLedgers | Left]:
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
        with source.read():
            pass  # it is in use, and complete
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
        if source.left_for() == new.name:
            new.end_move()
            return [Left(source.name, new.name, None)]
        source.require()
        if target.postgres is not None:  # before anything is written there
            with new_draft(home) as draft:
                check_target(target.postgres, draft.folder)
        tables = stack.enter_context(new_draft(home))
        connection = stack.enter_context(source.held(tables.folder))
        move_ledgers = settings.postgres != target.postgres
        ledgers = stack.enter_context(held_ledgers(home, settings.postgres)) if move_ledgers else {}
        _refuse_runs(settings, source)
        before = source.stamp()
        if target.postgres is not None and new.is_unfinished():
            clear(target.postgres)
        elif target.postgres is not None:
            check_new(target.postgres)
        new = new.begin_move(source.name)
        done: list[Copied | CopiedLedgers | Left] = [copy_tables(connection, new, tables.folder)]
        if move_ledgers:
            draft = stack.enter_context(new_draft(home))
            done.append(copy_ledgers(ledgers, home, target.postgres, draft.folder, now))
        if source.stamp() != before or not all(map(is_held, ledgers.values())):
            raise MoveFailed(f"The connection to {source.name} was lost, so it may have changed; try again.")
        kept = source.leave(new.name, tuple(ledgers), now)
        new.end_move()
    return [*done, Left(source.name, new.name, kept)]


def _move_ledgers_to_present_lake(settings: Settings, words: str, now: datetime) -> list[Copied | CopiedLedgers | Left]:
    home, lake = settings.home_path, settings.database_name
    done: list[Copied | CopiedLedgers | Left] = []
    with instance_lock(home), no_daemon(words), ExitStack() as stack:
        if moved.left_for(home / FOLDER) == lake:  # a killed move is completed
            ledgers = [home / below for below in LEDGERS]
        else:
            held = stack.enter_context(held_ledgers(home, None))
            _refuse_runs(settings, Database.configured(settings))
            draft = stack.enter_context(new_draft(home))
            done.append(copy_ledgers(held, home, words, draft.folder, now))
            if held:
                message = moved.moved(str(home / FOLDER), lake, now)
                write_atomically(moved.note_path(home / FOLDER), moved.note(lake, message))
            ledgers = list(held)
        for name, kept in (names for path in ledgers for names in set_aside_names(path, now)):
            if name.exists():
                kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                name.replace(kept)
    return [*done, Left(str(home / FOLDER), lake, None)]


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
