"""Moves an installation from one kind of database to another: from a DuckDB file to a lake, or back.

While tables and ledgers are copied, no process can write to them. Then the old ones are left in one step: files are set
aside, with notes in their place; in PostgreSQL a table says where they went. So whatever still names the old database,
on any machine and by any spelling, is refused. A killed move leaves the old one in use, or the new one.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import Error as LedgerError

from bizcharts_pipeline.backup.drafts import clean_up, new_draft
from bizcharts_pipeline.core import moved, run_locks
from bizcharts_pipeline.core.postgres import others_at_work
from bizcharts_pipeline.core.sqlite_seal import FOLDER
from bizcharts_pipeline.moving.ledgers import CopiedLedgers, check_target, copy_ledgers, held_ledgers, is_held
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
    home, database = settings.home_path, Database.configured(settings)
    if database.name == target.database_name and target.postgres is not None:
        database.require()
        return _move_files_to(target.postgres, settings, now)
    if type(database) is type(Database.configured(target)):
        raise MoveFailed(
            f"{database.name} and {target.database_name} are databases of the same kind; `bizcharts migrate` moves "
            "between a file and a lake. Nothing was moved."
        )
    for either in (database, Database.configured(target)):
        if isinstance(either, DatabaseFile):
            clean_up(either, home)  # the renames of a killed move are completed
    if database.left_for() == target.database_name:
        _delete_notes(home, target)
        return [Left(database.name, target.database_name, None)]
    database.require()
    with instance_lock(home), no_daemon(settings.postgres), ExitStack() as stack:
        if target.postgres is not None:  # before the tables are written there
            with new_draft(home) as draft:
                check_target(target.postgres, draft.folder)
        tables = stack.enter_context(new_draft(home))
        connection = stack.enter_context(database.held(tables.folder))
        move_ledgers = settings.postgres != target.postgres
        ledgers = stack.enter_context(held_ledgers(home, settings.postgres)) if move_ledgers else {}
        _refuse_runs(settings, database)
        before = database.stamp()
        done: list[Copied | CopiedLedgers | Left] = [
            copy_tables(connection, Database.configured(target), tables.folder)
        ]
        if move_ledgers:
            draft = stack.enter_context(new_draft(home))
            done.append(copy_ledgers(ledgers, home, target.postgres, draft.folder, now))
        if database.stamp() != before or not all(map(is_held, ledgers.values())):
            raise MoveFailed(f"The connection to {database.name} was lost, so it may have changed; try again.")
        kept = database.leave(target.database_name, tuple(ledgers), now)
        _delete_notes(home, target)
    return [*done, Left(database.name, target.database_name, kept)]


def _move_files_to(words: str, settings: Settings, now: datetime) -> list[Copied | CopiedLedgers | Left]:
    home = settings.home_path
    with instance_lock(home), no_daemon(words), held_ledgers(home, None) as ledgers, new_draft(home) as draft:
        return [copy_ledgers(ledgers, home, words, draft.folder, now)]


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


def _delete_notes(home: Path, target: Settings) -> None:
    """Let the files be used again that were left earlier for the database that is left now."""
    if target.postgres is None:
        for place in (Path(target.database_name), home / FOLDER):
            moved.note_path(place).unlink(missing_ok=True)
