"""Detection and repair of damage in a home without a backup.

Nothing is deleted: files that are moved away or replaced are kept under new names.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.backup.drafts import clean_up
from bizcharts_pipeline.backup.errors import RepairRefused
from bizcharts_pipeline.backup.files import IMAGES, damaged_images, dataset_problems, model_problems
from bizcharts_pipeline.backup.ledgers import DISK, find_problem, readable_rows, unreadable
from bizcharts_pipeline.backup.misplaced import forbidden, misplaced, permission_denied
from bizcharts_pipeline.core.counted import counted, some_of
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import is_special, link, read_regular, write_atomically
from bizcharts_pipeline.core.sqlite_log import Fault, find_fault, log_path
from bizcharts_pipeline.core.sqlite_seal import FOLDER as LEDGERS
from bizcharts_pipeline.core.sqlite_seal import (
    KNOWN,
    exclusive_lock,
    foreign,
    foreign_log,
    forget,
    is_broken,
    is_lost,
    ledger_paths,
    lost,
    seal_path,
    warn_of_cut,
    write_seal,
)
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger, LedgerError
from bizcharts_pipeline.labels.recovery import ledger_problem
from bizcharts_pipeline.warehouse import closed
from bizcharts_pipeline.warehouse.compact import rewrite
from bizcharts_pipeline.warehouse.copies import all_readable, check_database, replay_log
from bizcharts_pipeline.warehouse.database_file import NOT_A_FILE, DatabaseFile
from bizcharts_pipeline.warehouse.errors import (
    DatabaseChanged,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseLogCorrupt,
    DatabaseUnavailable,
)
from bizcharts_pipeline.warehouse.installation import Installation, is_missing
from bizcharts_pipeline.warehouse.log import read_log, wal
from bizcharts_pipeline.warehouse.models import models

_POINTER = re.compile(r" `bizcharts repair` shows what [a-z ]+[.,]")
_LAST_POINTER = re.compile(f";{_POINTER.pattern}$")
RESTORE = "`bizcharts restore FILE --only {part}` restores a backup."
REBUILD = "`bizcharts labels restore` rebuilds it from the labels of the database."


@dataclass(frozen=True)
class Damage:
    """A damaged part of a home, or one changed by another program.

    ``set_aside`` and ``accept`` describe the effects and losses of the two ways to repair it; ``None`` if not
    applicable.
    """

    path: Path
    problem: str
    set_aside: str | None = None
    accept: str | None = None


@dataclass(frozen=True)
class Repaired:
    """One repair: its subject and outcome. ``kept`` is the path of the original, if it was replaced."""

    path: Path
    outcome: str
    kept: Path | None = None


@dataclass(frozen=True)
class _Found:
    damage: Damage
    set_aside: Callable[[str], Repaired] | None = None  # receives the suffix for the names of kept files
    accept: Callable[[], None] | None = None


def find_damage(
    database: DatabaseFile, home: Path, check: Callable[[DatabaseFile], object] = check_database, *, images: bool = True
) -> list[Damage]:
    """Check everything in ``home`` that a backup holds, and return the damage.

    An interrupted restore is finished, and leftovers of killed backups are removed.

    Args:
        check: reads the database completely, and raises like :func:`check_database`; a backup copies it meanwhile.
        images: check the images too.

    Raises:
        DatabaseError: the database is in use for too long.
    """
    damages = [found.damage for found in _find(database, home, check, images=images)]
    return [replace(damage, problem=_without_pointer(damage.problem)) for damage in damages]


def set_aside(database: DatabaseFile, home: Path, now: datetime) -> list[Repaired]:
    """Repair a home: move damaged parts to quarantine if the rest works without them; ``now``, naive UTC, is part of
    the new names.

    Raises:
        RepairRefused: a damaged ledger is in use.
        DatabaseError: the database is in use for too long, or inaccessible.
    """
    done: list[Repaired] = []
    # The database file can be checked only after its damaged log was moved away.
    while steps := [found for found in _find(database, home) if found.set_aside and _is_new(found, done)]:
        for found in steps:
            assert found.set_aside
            done.append(found.set_aside(f"set-aside-{now:%Y%m%dT%H%M%S%f}"))
    return done


def accept(database: DatabaseFile, home: Path) -> list[Repaired]:
    """Repair a home: accept readable parts that another program has changed as they are.

    Raises:
        RepairRefused: a ledger is in use.
        DatabaseError: the database is in use for too long, or inaccessible.
    """
    done = []
    for found in _find(database, home):
        if found.accept:
            found.accept()
            done.append(Repaired(found.damage.path, "accepted as it is"))
    return done


def _is_new(found: _Found, done: list[Repaired]) -> bool:
    return all(found.damage.path != repaired.path for repaired in done)


def _find(
    database: DatabaseFile, home: Path, check: Callable[[DatabaseFile], object] = check_database, *, images: bool = True
) -> list[_Found]:
    wrong = misplaced(database.path, home)
    found = [_Found(Damage(path, problem, "It is moved away."), _move(path, home)) for path, problem in wrong.items()]
    if denied := forbidden(database.path, home):
        found.append(_Found(Damage(denied[0] if len(denied) == 1 else home, permission_denied(denied))))
    unusable = [*wrong, *denied]
    if not any(_goes_with(path, database.path) for path in unusable):
        clean_up(database, home)
        found += _find_in_database(database, home, check)
    for path in ledger_paths(home):
        if any(_goes_with(each, path) or each in (home / LEDGERS, home / KNOWN) for each in unusable):
            continue
        try:
            found += _find_in_ledger(path, home)
        except OSError as error:
            found.append(_Found(Damage(path, unreadable(path, error))))
    if not found:
        found = _find_old_ledger(database, home)
    for path, problem in (model_problems(home, _registered(database)) | dataset_problems(home)).items():
        if any(each.is_relative_to(path) for each in unusable):
            continue
        damage = Damage(path, problem, "It is moved away; train the model, or make the data set, again.")
        found.append(_Found(damage, _move(path, home)))
    if images and (damaged := damaged_images(home)):
        what = "They are moved away; `bizcharts restore FILE --only images` restores those of a backup."
        names = some_of([path.name for path in damaged])
        problem = f"{home / IMAGES}: {counted(len(damaged), 'image')} damaged: {names}."
        found.append(_Found(Damage(home / IMAGES, problem, what), lambda ending: _move_images(home, damaged, ending)))
    return found


def _goes_with(file: Path, path: Path) -> bool:
    return file.parent == path.parent and file.name.startswith(path.name)


def _registered(database: DatabaseFile) -> dict[str, str]:
    if is_missing(database.path):
        return {}
    with suppress(DatabaseError), database.read() as connection:
        return {row.model_version: row.sha256 or "" for row in models(connection)}
    return {}


def _find_in_database(database: DatabaseFile, home: Path, check: Callable[[DatabaseFile], object]) -> list[_Found]:
    path = database.path
    if is_special(path):
        return [_Found(Damage(path, f"{path} {NOT_A_FILE} {RESTORE.format(part='database')}"))]
    if is_missing(path):
        lost = closed.seal_path(path).exists() or Installation(home, path).has_lost_database()
        return [_Found(Damage(path, f"{path} is missing or empty. {RESTORE.format(part='database')}"))] if lost else []
    try:
        check(database)
    except DatabaseLogCorrupt as error:
        return [_damaged_log(database, str(error))]
    except DatabaseChanged as error:
        return [_Found(Damage(path, str(error), accept="It is accepted as it is."), accept=lambda: _reseal(database))]
    except DatabaseCorrupt as error:
        if not all_readable(database):
            return [_Found(Damage(path, _with_hint(str(error), "database")))]
        what = "It is rewritten from its tables, which can all be read: nothing is lost."
        return [_Found(Damage(path, str(error), what), lambda ending: _rewrite(database, ending))]
    except DatabaseUnavailable as error:
        return [_Found(Damage(path, str(error)))]
    except OSError as error:
        return [_Found(Damage(path, f"{path} cannot be read ({reason_of(error)})."))]
    return []


def _damaged_log(database: DatabaseFile, problem: str) -> _Found:
    path, log = wal(database.path), read_log(database.path)
    has = (
        f"{counted(len(log.commits), 'transaction')} in {log.bytes:,} bytes"
        if log and log.head
        else "no readable transaction"
    )
    if closed.has_foreign_log(database.path):
        damage = Damage(path, problem, f"It is moved away, with {has}.", "It is accepted as this database's own.")
        return _Found(damage, lambda ending: _quarantine_log(database, ending), lambda: _unseal(database))
    what = f"It is moved away, with {has}; the transactions before the damage are kept, the others are lost."
    return _Found(Damage(path, problem, what), lambda ending: _quarantine_log(database, ending))


def _quarantine_log(database: DatabaseFile, ending: str) -> Repaired:
    path = wal(database.path)
    kept = path.with_name(f"{path.name}.{ending}")
    with database.exclusive():
        log, is_foreign = read_log(database.path), closed.has_foreign_log(database.path)
        path.rename(kept)
        if is_foreign or not log:
            return Repaired(path, "moved away", kept)
        count = replay_log(database.path, kept, log)
    lost = len(log.commits) - count
    return Repaired(path, f"{counted(count, 'transaction')} kept, {lost:,} complete ones and the rest lost", kept)


def _rewrite(database: DatabaseFile, ending: str) -> Repaired:
    kept = database.path.with_name(f"{database.path.name}.{ending}")
    with database.replacing():
        rewrite(database.path, kept)
    return Repaired(database.path, "rewritten from its tables, nothing lost", kept)


def _reseal(database: DatabaseFile) -> None:
    with database.exclusive():
        closed.accept(database.path)


def _unseal(database: DatabaseFile) -> None:
    with database.exclusive():
        closed.unseal(database.path)


def _find_in_ledger(path: Path, home: Path) -> list[_Found]:
    with exclusive_lock(path) as exclusive:
        if exclusive and is_lost(path):
            rebuild = f" {REBUILD}" if path == home / LEDGER else ""
            damage = Damage(path, lost(path) + rebuild, accept="A new, empty one is created.")
            return [_Found(damage, accept=lambda: _allow_new_ledger(path))]
        if exclusive and (log := foreign_log(path)):
            damage = Damage(log, foreign(log, path), "It is moved away.")
            return [_Found(damage, lambda end: _quarantine_ledger_log(path, log, None, end))]
        fault = find_fault(path) if exclusive else None
        if fault and fault.cut:
            warn_of_cut(path, fault)
            fault = None
        is_changed = exclusive and not fault and is_broken(path)
    if fault:
        what = f"It is moved away; commits before the damage are kept. {_rows(path)}"
        damage = Damage(log_path(path), f"{fault.text}.", what)
        return [_Found(damage, lambda end: _quarantine_ledger_log(path, log_path(path), fault, end))]
    if not (problem := find_problem(path)):
        return []
    if is_changed and (rows := readable_rows(path)) and all(table.all for table in rows.values()):
        problem = f"{_without_pointer(problem)} If you did not change it: {RESTORE.format(part='ledgers')}"
        damage = Damage(path, problem, accept=f"It is accepted as it is. {_rows(path)}")
        return [_Found(damage, accept=lambda: _accept_ledger(path))]
    if DISK in problem:
        return [_Found(Damage(path, problem))]
    problem = _with_hint(f"{problem} {_rows(path)}", "ledgers")
    if path == home / LEDGER:
        problem += f" Or move {path.name} away, with the files {path.name}-*; {REBUILD}"
    return [_Found(Damage(path, problem))]


def _find_old_ledger(database: DatabaseFile, home: Path) -> list[_Found]:
    """Find a label ledger, intact in itself, that lacks labels of the database."""
    ledger = LabelLedger(home / LEDGER)
    try:
        problem = None if is_missing(database.path) else ledger_problem(database, ledger)
    except LedgerError as error:
        problem = _with_hint(str(error), "ledgers")
    return [_Found(Damage(ledger.path, problem))] if problem else []


def _without_pointer(problem: str) -> str:
    """Return ``problem`` without the advice to run `bizcharts repair`, which has found it."""
    return _POINTER.sub("", _LAST_POINTER.sub(".", problem))


def _with_hint(problem: str, part: str) -> str:
    """Return ``problem`` with the advice to restore ``part``, unless it has that already, or the disk is the reason."""
    return problem if "bizcharts restore" in problem or DISK in problem else f"{problem} {RESTORE.format(part=part)}"


def _rows(path: Path) -> str:
    rows = readable_rows(path)
    tables = ", ".join(f"{name} {table.rows:,}{'' if table.all else ' (not all)'}" for name, table in rows.items())
    return f"Readable rows: {tables or 'none'}."


def _quarantine_ledger_log(path: Path, log: Path, fault: Fault | None, ending: str) -> Repaired:
    kept = log.with_name(f"{log.name}.{ending}")
    with _locked(path):
        link(log, kept)
        if fault and fault.sound_bytes:
            write_atomically(log, read_regular(kept)[: fault.sound_bytes])
            return Repaired(log, "commits before the damage kept, later ones lost", kept)
        log.unlink()
    return Repaired(log, "moved away", kept)


def _allow_new_ledger(path: Path) -> None:
    with _locked(path):
        forget(path)


def _accept_ledger(path: Path) -> None:
    with _locked(path):
        seal_path(path).unlink(missing_ok=True)
        write_seal(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with exclusive_lock(path) as exclusive:
        if not exclusive:
            raise RepairRefused(f"{path} is in use; stop the service and the labeller, and try again.")
        yield


def _move_images(home: Path, damaged: list[Path], ending: str) -> Repaired:
    kept = home / "set-aside" / f"{IMAGES}.{ending}"
    kept.mkdir(mode=0o700, parents=True)
    for path in damaged:
        os.rename(path, kept / path.name)
    return Repaired(home / IMAGES, f"{counted(len(damaged), 'image')} moved away", kept)


def _move(path: Path, home: Path) -> Callable[[str], Repaired]:
    def move(ending: str) -> Repaired:
        kept = (home if path.is_relative_to(home) else path.parent) / "set-aside" / f"{path.name}.{ending}"
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        os.rename(path, kept)
        return Repaired(path, "moved away", kept)

    return move
