"""Ledgers: what people and money produced, written by many processes at once, in which every commit is durable.

A ledger is named by its path below the home of an installation. It is a SQLite file there
(:mod:`bizcharts_pipeline.core.sqlite`), or, if the database of the home is a lake, a schema of PostgreSQL that all
machines share (:mod:`bizcharts_pipeline.core.postgres`). Statements are written once, in the subset of SQL that both
understand: placeholders are ``?`` or ``:name``, a new row's id comes from ``RETURNING``, a truth value is the integer
0 or 1. Errors are those of :mod:`sqlite3` with either.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from bizcharts_pipeline.core import postgres, run_locks, sqlite, sqlite_seal
from bizcharts_pipeline.core.file_lock import lock_file
from bizcharts_pipeline.core.files import read_regular, write_atomically

BUSY_SECONDS = sqlite.BUSY_SECONDS
ALL = 2**63 - 1  # for LIMIT: every row
_CREATED = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")
_servers: dict[Path, str] = {}  # words of the connection string, by home


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """Number of rows that the statement changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, a tuple; ``None`` after the last one."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the remaining rows."""
        ...


class Connection(Protocol):
    """An open ledger. A statement outside a :func:`transaction` is its own transaction."""

    version: int  # of the schema; 0: it has none yet

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def begin(self) -> None:
        """Begin a write transaction that excludes every other one on this ledger."""
        ...

    def commit(self) -> None:
        """Commit the transaction durably."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ..., /) -> Rows:
        """Run a statement."""
        ...

    def execute_for_each(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement that changes rows with each of the parameters; return the number of changed rows."""
        ...

    def define(self, statement: str) -> None:
        """Run a statement of a schema step, which is written for SQLite."""
        ...

    def tables(self) -> list[str]:
        """Return the names of the tables, in order."""
        ...

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of ``table``; empty if there is no such table."""
        ...

    def close(self) -> None:
        """End the use of the ledger; an open transaction is rolled back."""
        ...


def keep_in_postgres(home: Path, words: str | None) -> None:
    """Set where this process finds the ledgers of ``home``, an absolute path: in the PostgreSQL database of the
    connection string ``words``, or, with ``None``, in files."""
    if words is None:
        _servers.pop(home, None)
    else:
        _servers[home] = words


def connect(path: Path, busy_seconds: float = BUSY_SECONDS, *, one_thread: bool = True) -> Connection:
    """Open the ledger ``path``, which is created on first use.

    Args:
        busy_seconds: how long a write transaction waits for those of other processes.
        one_thread: only the thread that opened the connection may use it.

    Raises:
        sqlite3.Error: the ledger is lost or cannot be used.
    """
    if (words := _server(path)) is None:
        if _is_in_postgres(path):
            raise sqlite3.DatabaseError(f"it is in PostgreSQL. {_in_postgres(path)}")
        return sqlite.connect(path, busy_seconds, one_thread=one_thread)
    connection = postgres.connect(words, path.stem, busy_seconds)
    try:
        _check_present(connection, path, words)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the block in an exclusive write transaction: committed at the end, rolled back on any exception.

    The caller may roll it back earlier.
    """
    connection.begin()
    try:
        yield
        if connection.in_transaction:
            connection.commit()
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


def is_known(path: Path) -> bool:
    """Whether the ledger ``path`` exists or has existed; :func:`connect` reports a lost or moved one, or a server that
    does not answer, as an error."""
    if (words := _server(path)) is None:
        return sqlite.is_known(path) or _is_in_postgres(path)
    try:
        with closing(postgres.connect(words, path.stem, 0)) as connection:
            connection.refuse_moved()
            return bool(connection.version) or _has_been(connection, path, words) or sqlite.is_known(path)
    except sqlite3.Error:
        return True


def is_lost(path: Path) -> bool:
    """Whether the ledger ``path`` has existed and is missing."""
    if (words := _server(path)) is None:
        return sqlite_seal.is_lost(path) or _is_in_postgres(path)
    with closing(postgres.connect(words, path.stem, BUSY_SECONDS)) as connection:
        return is_missing(connection, path, words)


def missing_ledgers(home: Path) -> list[str]:
    """Return a message for each ledger of ``home``, an absolute path, that has existed and is missing.

    Raises:
        sqlite3.Error: the server that holds them does not answer.
    """
    marked = (home / sqlite_seal.KNOWN).glob("*.postgres")
    if (words := _servers.get(home)) is None:
        lost = [sqlite_seal.lost(path) for path in sqlite_seal.ledger_paths(home) if sqlite_seal.is_lost(path)]
        paths = [home / sqlite_seal.FOLDER / f"{mark.stem}.sqlite" for mark in sorted(marked)]
        return lost + [f"{path} is in PostgreSQL. {_in_postgres(path)}" for path in paths if _is_in_postgres(path)]
    with closing(postgres.connect(words, postgres.KNOWN_SCHEMA, BUSY_SECONDS)) as connection:
        names = {*connection.recorded(), *(mark.stem for mark in marked)}
    paths = [home / sqlite_seal.FOLDER / f"{name}.sqlite" for name in sorted(names)]
    return [f"{place(path)}: {lost_in_postgres(path)}." for path in paths if is_lost(path)]


def forget(path: Path) -> None:
    """Allow a new ledger ``path`` in place of a lost one, unless a process has it open."""
    if (words := _server(path)) is not None:
        if is_lost(path):
            with closing(postgres.connect(words, path.stem, BUSY_SECONDS)) as connection:
                connection.unrecord()
            _mark_path(path).unlink(missing_ok=True)
        return
    if _is_in_postgres(path):
        _mark_path(path).unlink()
    with sqlite_seal.exclusive_lock(path) as exclusive:
        if exclusive and sqlite_seal.is_lost(path):
            sqlite_seal.forget(path)


def place(path: Path) -> str:
    """Return where the ledger ``path`` is, for messages."""
    words = _server(path)
    return str(path) if words is None else f"{path.stem} in PostgreSQL ({words})"


def of_newer_version(path: Path) -> str:
    """Return the message for a ledger that :func:`upgrade` refuses."""
    return f"{place(path)} was written by a newer version of BizCharts; update BizCharts."


def upgrade(connection: Connection, steps: Sequence[str]) -> bool:
    """Run the schema steps that a ledger lacks, in one transaction; step ``n`` (from 1) leads from version ``n - 1`` to
    ``n``.

    Return whether this program may use the ledger; it may not use one written by a newer version.

    Raises:
        sqlite3.DatabaseError: it has tables of another program.
    """
    if (version := connection.version) < len(steps):
        if not version:
            refuse_foreign(connection, "".join(steps))
        with transaction(connection):
            version = connection.version  # re-read: another process may have upgraded it
            for step in steps[version:]:
                for statement in _statements(step):
                    connection.define(statement)
            version = connection.version = max(version, len(steps))
    return version <= len(steps)


def marks(values: Sized) -> str:
    """Return a placeholder for each of the values, of which there is at least one."""
    return ", ".join("?" * len(values))


def refuse_foreign(connection: Connection, schema: str) -> None:
    """Refuse a ledger without a schema version that has tables which are not in ``schema``.

    Raises:
        sqlite3.DatabaseError: it is the one of another program.
    """
    if set(connection.tables()) - set(_CREATED.findall(schema)):
        raise sqlite3.DatabaseError("the tables of another program are in its place")


def is_shared(path: Path) -> bool:
    """Whether the ledgers of the home that ``path`` is in, and locks on it, are in PostgreSQL."""
    return _shared_home(path) is not None


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Try to lock ``path``, a file of a home, against all processes that share the ledgers of the home; yield whether
    it was free. Its folder is created.

    Raises:
        sqlite3.Error: the server that holds the locks does not answer.
    """
    if (home := _shared_home(path)) is not None:
        with postgres.lock(_servers[home], str(path.absolute().relative_to(home))) as is_free:
            yield is_free
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(path) as is_free:
        yield is_free


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Mark a run as active while the block runs; see :mod:`.run_locks`. ``folder``, in a home, names the kind of run.

    Raises:
        sqlite3.Error: the server that holds the locks does not answer.
    """
    if (words := _server(folder)) is None:
        with run_locks.alive(folder, run_id):
            yield
        return
    with postgres.lock(words, _run_name(folder, run_id)) as is_free:
        if not is_free:
            raise sqlite3.OperationalError(f"the run {run_id} is active already")
        yield


def is_alive(folder: Path, run_id: str) -> bool:
    """Whether the process of a run is alive, on whichever machine.

    Raises:
        sqlite3.Error: the server that holds the locks does not answer.
    """
    if (words := _server(folder)) is None:
        return run_locks.is_alive(folder, run_id)
    with closing(postgres.Lock(words, _run_name(folder, run_id))) as lock:
        return lock.is_taken()


def _run_name(folder: Path, run_id: str) -> str:
    return f"{folder.name}/{run_id}"


def _server(path: Path) -> str | None:
    home = _shared_home(path)
    return None if home is None else _servers[home]


def _shared_home(path: Path) -> Path | None:
    """The home with ledgers in PostgreSQL that ``path`` is in."""
    return next((folder for folder in path.absolute().parents if folder in _servers), None)


def _check_present(connection: postgres.PostgresConnection, path: Path, words: str) -> None:
    """Refuse a ledger in PostgreSQL that was moved elsewhere, and to begin an empty one in place of one that exists, or
    has existed: money and labels would be forgotten.

    Raises:
        sqlite3.DatabaseError: it was, or it would.
    """
    connection.refuse_moved()
    if connection.version:
        with suppress(OSError, sqlite3.Error):  # a full disk; the next use marks it
            if not connection.is_recorded():  # it was made by a version that did not record it
                connection.record()
            if not _is_marked(path, words):
                _mark_path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_atomically(_mark_path(path), words.encode())
    elif is_missing(connection, path, words):
        raise sqlite3.DatabaseError(lost_in_postgres(path))
    elif sqlite.is_known(path):
        raise sqlite3.DatabaseError(f"{path} was not moved there yet; `bizcharts migrate --to` does it")


def lost_in_postgres(path: Path) -> str:
    """Return the message for a ledger that is missing in PostgreSQL."""
    mark = f" and delete {_mark_path(path)}" if _mark_path(path).exists() else ""
    return (
        "it is missing there, although it existed. Restore PostgreSQL's dump; or, to begin a new one, let PostgreSQL "
        f"run DELETE FROM {postgres.KNOWN} WHERE name = '{path.stem}'{mark}"
    )


def is_missing(connection: postgres.PostgresConnection, path: Path, words: str) -> bool:
    """Whether the ledger ``path`` has existed in the database of the connection string ``words`` and is missing."""
    # In this order: another process may create it between the two, and its record with it.
    return _has_been(connection, path, words) and not connection.version


def _has_been(connection: postgres.PostgresConnection, path: Path, words: str) -> bool:
    """Whether the ledger ``path`` has existed in PostgreSQL, as the database or, if all of that is lost, the home
    knows."""
    return connection.is_recorded() or _is_marked(path, words)


def _is_marked(path: Path, words: str) -> bool:
    try:
        return read_regular(_mark_path(path)) == words.encode()
    except OSError:
        return False


def _is_in_postgres(path: Path) -> bool:
    """Whether this home has had the ledger ``path`` in PostgreSQL, and has it in no file: a new one would forget money
    and labels."""
    return _mark_path(path).exists() and not path.exists()


def _in_postgres(path: Path) -> str:
    return (
        "Set BIZCHARTS_DATABASE to the lake; if another home has moved the lake to a file, use that home. To begin a "
        f"new ledger, delete {_mark_path(path)}"
    )


def _mark_path(path: Path) -> Path:
    """This home's mark that the ledger ``path`` has existed in PostgreSQL; it holds the words of its connection
    string."""
    return path.parent.with_name(sqlite_seal.KNOWN) / f"{path.stem}.postgres"


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
