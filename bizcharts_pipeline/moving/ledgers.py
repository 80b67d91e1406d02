"""Copies the ledgers of an installation between the files of its home and the PostgreSQL database of a lake.

Each ledger is filled apart, compared with its source, and then put in place in one step, so a killed copy leaves no
ledger, or a whole one; repeating it does what is missing.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.alerts import ledger as alerts
from bizcharts_pipeline.autolabel import ledger as auto_labels
from bizcharts_pipeline.core import postgres, sqlite, sqlite_seal
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import free_name, sync
from bizcharts_pipeline.core.ledgers import (
    BUSY_SECONDS,
    Connection,
    is_missing,
    lost_in_postgres,
    marks,
    of_newer_version,
    transaction,
)
from bizcharts_pipeline.core.postgres_dialect import ROWID
from bizcharts_pipeline.core.sqlite_log import has_log
from bizcharts_pipeline.endpoints import ledger as endpoints
from bizcharts_pipeline.http import request_budget
from bizcharts_pipeline.lab import trials
from bizcharts_pipeline.labels import ledger as labels
from bizcharts_pipeline.labels import ledger_schema
from bizcharts_pipeline.pods import ledger as pods
from bizcharts_pipeline.prices.rotation import REQUESTS
from bizcharts_pipeline.scoring import vision

LEDGERS: Mapping[Path, Callable[[Connection], bool]] = {  # by path below the home
    alerts.LEDGER: alerts.bring_up_to_date,
    auto_labels.LEDGER: auto_labels.bring_up_to_date,
    endpoints.LEDGER: endpoints.bring_up_to_date,
    labels.LEDGER: ledger_schema.bring_up_to_date,
    pods.LEDGER: pods.bring_up_to_date,
    REQUESTS: request_budget.bring_up_to_date,
    trials.LEDGER: trials.bring_up_to_date,
    vision.LEDGER: auto_labels.bring_up_to_date,
}

Contents = dict[str, tuple[int, str]]  # rows and digest, by table


class LedgersNotMoved(BizchartsError):
    """A ledger was not moved; its source is as it was."""


@dataclass(frozen=True)
class CopiedLedgers:
    """Result of a copy: number of rows by ledger, and the folder of the files that were replaced, if any were."""

    target: str
    rows: Mapping[str, int]
    kept: Path | None

    def __str__(self) -> str:
        what = f"{counted(len(self.rows), 'ledger')}, {counted(sum(self.rows.values()), 'row')}"
        kept = f" The earlier files are in {self.kept}." if self.kept else ""
        return f"{what} copied and compared: {self.target}.{kept}"


@contextmanager
def opened_ledgers(home: Path, words: str | None) -> Iterator[dict[Path, Connection]]:
    """Yield the ledgers of ``home`` by path, open. Until the end of the block no other process can write to those that
    are files; of those in PostgreSQL, the caller keeps others away (:func:`postgres.holding`) when this has brought
    them up to date.

    Args:
        words: of the connection string of the database that they are in; ``None``: files of the home.

    Raises:
        LedgersNotMoved: a ledger is lost, in use, of a newer version, or cannot be used.
    """
    held: dict[Path, Connection] = {}
    with ExitStack() as stack:
        for below, bring_up_to_date in LEDGERS.items():
            path = home / below
            try:
                if problem := _loss(path, words):
                    raise LedgersNotMoved(problem)
                if not _is_there(path, words):
                    # One that begins meanwhile would not be moved.
                    if words is None and not (
                        stack.enter_context(sqlite_seal.exclusive_lock(path)) and not path.exists()
                    ):
                        raise LedgersNotMoved(_in_use(path))
                    continue
                with closing(_open(path, words)) as ledger:
                    if not bring_up_to_date(ledger):
                        raise LedgersNotMoved(of_newer_version(path))
                if words is None:
                    if not stack.enter_context(sqlite_seal.exclusive_lock(path)):
                        raise LedgersNotMoved(_in_use(path))
                    held[path] = stack.enter_context(closing(sqlite.copy_to_read(path)))
                else:
                    held[path] = stack.enter_context(closing(_in_postgres(words, path.stem)))
            except (sqlite3.Error, OSError) as error:
                raise LedgersNotMoved(f"{path.stem}: the ledger was not moved: {error}") from None
        yield held


def copy_ledgers(
    held: Mapping[Path, Connection], home: Path, target: str | None, folder: Path, now: datetime
) -> CopiedLedgers:
    """Copy the ledgers ``held`` (:func:`opened_ledgers`) to ``target``: the words of a connection string, or ``None``
    for the files of ``home``. A target with the same rows, or with none, is no obstacle; a file with other rows is kept
    apart and replaced, as the ledgers in PostgreSQL are those that were in use.

    Args:
        folder: an empty folder on the disk of the home.
        now: naive UTC, for the name of the folder of replaced files.

    Raises:
        LedgersNotMoved: the target in PostgreSQL holds other rows or another program's tables, a copy does not agree,
            or a ledger of the target is lost or cannot be used.
    """
    if target is not None:
        check_target(target, folder)
    kept = sqlite_seal.kept_before_move(home / sqlite_seal.FOLDER, now)
    copied = {}
    for path, old in held.items():
        try:
            if target is not None and (problem := _loss(path, target)):
                raise LedgersNotMoved(problem)
            copied[path.stem] = _copy(old, path, target, folder, kept, LEDGERS[path.relative_to(home)])
        except (sqlite3.Error, OSError) as error:
            where = _name(target, home)
            raise LedgersNotMoved(f"{path.stem}: the ledger was not moved to {where}: {error}") from None
    return CopiedLedgers(_name(target, home), copied, kept if kept.exists() else None)


def check_target(words: str, folder: Path) -> None:
    """Check that in the database of the connection string ``words`` no schema of a ledger's name is another program's,
    as its tables would be replaced. Nothing is written there.

    Args:
        folder: a folder for temporary files.

    Raises:
        LedgersNotMoved: one is, or the server does not answer.
    """
    for below, bring_up_to_date in LEDGERS.items():
        try:
            with closing(sqlite.connect(folder / f"{below.stem}.empty")) as empty:
                bring_up_to_date(empty)
                tables = empty.tables()
            for schema in (below.stem, f"{below.stem}{postgres.DRAFT}"):
                with closing(postgres.connect(words, schema, BUSY_SECONDS)) as connection:
                    if connection.is_foreign(tables):
                        raise LedgersNotMoved(
                            f"The schema {schema} in PostgreSQL ({words}) belongs to another program; name another "
                            "database. Nothing was moved."
                        )
        except sqlite3.Error as error:
            raise LedgersNotMoved(f"{below.stem}: the ledger was not moved: {error}") from None


def check_new(words: str) -> None:
    """Check that the database of the connection string ``words`` has, and has had, no ledgers.

    Raises:
        LedgersNotMoved: it has, or the server does not answer.
    """
    try:
        for below in LEDGERS:
            with closing(postgres.connect(words, below.stem, BUSY_SECONDS)) as connection:
                if connection.version or connection.is_recorded():
                    raise LedgersNotMoved(
                        f"PostgreSQL ({words}) has ledgers of BizCharts ({below.stem}); name a new database. Nothing "
                        "was moved."
                    )
    except sqlite3.Error as error:
        raise LedgersNotMoved(str(error)) from None


def clear(words: str) -> None:
    """Delete the ledgers that an unfinished move has put into the database of the connection string ``words``.

    Raises:
        LedgersNotMoved: one cannot be deleted.
    """
    try:
        for below in LEDGERS:
            with closing(postgres.connect(words, below.stem, BUSY_SECONDS)) as connection:
                connection.drop()
                connection.unrecord()
    except sqlite3.Error as error:
        raise LedgersNotMoved(str(error)) from None


def _copy(
    old: Connection,
    path: Path,
    target: str | None,
    folder: Path,
    kept: Path,
    bring_up_to_date: Callable[[Connection], bool],
) -> int:
    """Copy one ledger; return its number of rows."""
    with _draft(path, target, folder) as (draft, put_in_place):
        bring_up_to_date(draft)
        columns = {table: _columns(table, old, draft) for table in draft.tables()}
        wanted = _contents(old, columns)
        if _is_there(path, target):
            with closing(_open(path, target)) as present:
                bring_up_to_date(present)
                found = _contents(present, columns)
            if found == wanted:
                return _rows(wanted)
            if target is not None and _rows(found):
                raise LedgersNotMoved(
                    f"{path.stem}: the ledger in PostgreSQL holds other rows than {path}; name a new database."
                )
        with transaction(draft):
            for table, names in columns.items():
                listed = ", ".join(names)
                draft.execute(f"DELETE FROM {table}")  # what triggers wrote while the tables before it were filled
                rows = old.execute(f"SELECT {listed} FROM {table} ORDER BY {names[0]}")
                draft.execute_for_each(f"INSERT INTO {table} ({listed}) VALUES ({marks(names)})", rows)
            if isinstance(draft, postgres.PostgresConnection):
                draft.count_on()
            if _contents(draft, columns) != wanted:
                raise LedgersNotMoved(f"{path.stem}: the copy does not agree; there is no new ledger.")
        put_in_place(kept)
    return _rows(wanted)


@contextmanager
def _draft(path: Path, target: str | None, folder: Path) -> Iterator[tuple[Connection, Callable[[Path], None]]]:
    """Yield an empty ledger, and the function that puts it in place of ``path``."""
    if target is None:
        draft_path = folder / path.name
        with closing(sqlite.connect(draft_path)) as file:
            yield file, lambda kept: _replace_file(file, draft_path, path, kept)
        return
    name = f"{path.stem}{postgres.DRAFT}"
    with closing(_in_postgres(target, name)) as draft:
        draft.drop()
        yield draft, lambda _: draft.rename(path.stem)
        draft.drop()  # where the ledger was there already


def _replace_file(draft: Connection, draft_path: Path, path: Path, kept: Path) -> None:
    """Put a filled draft in place of the ledger ``path``, whose file is kept in the folder ``kept``."""
    draft.close()
    if path.exists() and not sqlite_seal.is_lost(path):
        sqlite.connect(path).close()  # it is checked, and its log written back
    with sqlite_seal.exclusive_lock(path) as is_free:
        if not is_free or has_log(path):
            raise LedgersNotMoved(f"{path}: another process has it open; stop the service, and try again.")
        if path.exists() and path.stat().st_size:
            kept.mkdir(mode=0o700, exist_ok=True)
            free_name(kept / path.name).hardlink_to(path)
        sqlite_seal.seal_path(path).unlink(missing_ok=True)
        draft_path.replace(path)
        sync(path.parent)
        sqlite_seal.write_seal(path)
        sqlite_seal.mark_known(path)


def _columns(table: str, *connections: Connection) -> list[str]:
    """Return the columns of a table, with PostgreSQL's name for the hidden number of a row of SQLite.

    Raises:
        LedgersNotMoved: the two have others.
    """
    found = [connection.columns(table) for connection in connections]
    if len({frozenset(names) - {ROWID} for names in found}) > 1:
        raise LedgersNotMoved(f"The table {table} has other columns than it should; nothing was moved.")
    return max(found, key=len)


def _contents(connection: Connection, columns: Mapping[str, Sequence[str]]) -> Contents:
    """Return the number of rows of each table, and a digest that does not depend on their order."""
    found = {}
    for table, names in columns.items():
        total = rows = 0
        for row in connection.execute(f"SELECT {', '.join(names)} FROM {table}"):
            content = repr(tuple(map(postgres.storable, row))).encode()
            total += int.from_bytes(hashlib.sha256(content).digest())
            rows += 1
        found[table] = rows, f"{total:x}"
    return found


def _rows(contents: Contents) -> int:
    return sum(rows for rows, _ in contents.values())


def _in_use(path: Path) -> str:
    return f"{path} is in use; stop the service and the labeller, and try again."


def _loss(path: Path, words: str | None) -> str | None:
    """Return what to do about a ledger that has existed and is missing; ``None`` if it is not so."""
    if words is None:
        return sqlite_seal.lost(path) if sqlite_seal.is_lost(path) else None
    with closing(postgres.connect(words, path.stem, BUSY_SECONDS)) as connection:
        is_lost = is_missing(connection, path, words)
    return f"{path.stem} in PostgreSQL ({words}): {lost_in_postgres(path)}." if is_lost else None


def _is_there(path: Path, words: str | None) -> bool:
    if words is None:
        return path.exists() and not sqlite_seal.is_lost(path)
    with closing(postgres.connect(words, path.stem, BUSY_SECONDS)) as connection:
        return connection.version > 0


def _open(path: Path, words: str | None) -> Connection:
    return sqlite.connect(path) if words is None else _in_postgres(words, path.stem)


def _in_postgres(words: str, schema: str) -> postgres.PostgresConnection:
    """Open a ledger whose transaction may wait for as long as the other one is read or filled."""
    connection = postgres.connect(words, schema, BUSY_SECONDS)
    connection.execute("SET idle_in_transaction_session_timeout = 0")
    return connection


def _name(words: str | None, home: Path) -> str:
    return str(home / sqlite_seal.FOLDER) if words is None else f"PostgreSQL ({words})"
