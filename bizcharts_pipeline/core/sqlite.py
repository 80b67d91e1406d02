"""SQLite ledgers: files written by many processes at once, in which every commit is durable.

Each ledger is sealed while no process has it open (:mod:`bizcharts_pipeline.core.sqlite_seal`), because SQLite itself
does not detect damage.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core import sqlite_seal

BUSY_SECONDS = 30.0
SQLITE_BEGIN = b"SQLite format 3\0"  # first bytes of every non-empty SQLite file
_PAUSE_SECONDS = 0.01
_BAD_TEXT = "a text in it is damaged (not UTF-8); `bizcharts repair` shows what can be kept"


class _Connection(sqlite3.Connection):
    """A connection that ends its use of the ledger when it is closed, and reports damaged text as a
    :class:`sqlite3.DatabaseError`."""

    use: sqlite_seal.Use | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.text_factory = _decode

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with _named_text_error():
            return super().execute(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        with _named_text_error():
            return super().executescript(*arguments)

    def close(self) -> None:
        super().close()
        if self.use is not None:
            self.use.end()


def connect(path: Path, busy_seconds: float = BUSY_SECONDS, *, one_thread: bool = True) -> sqlite3.Connection:
    """Open the ledger ``path`` in WAL mode, with each commit flushed to disk; creates the folder if it is missing.

    A statement outside a :func:`transaction` is its own transaction. If the folder is not writable, the connection is
    to an in-memory copy that refuses every write.

    Args:
        busy_seconds: how long a statement waits for other processes.
        one_thread: only the thread that opened the connection may use it.

    Raises:
        sqlite3.Error: the file cannot be used, or its write-ahead log is damaged.
    """
    if path.exists() and not os.access(path.parent, os.W_OK):
        return _copy_to_read(path, one_thread=one_thread)
    sqlite_seal.wait_for_restore(path, busy_seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    use = sqlite_seal.begin(path, busy_seconds)
    connection = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=one_thread,
        factory=_Connection,
    )
    connection.use = use
    try:
        _use_log(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in an exclusive write transaction: committed at the end, rolled back on any exception.

    The caller may roll it back earlier.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_known(path: Path) -> bool:
    """Whether the ledger ``path`` exists or has existed; :func:`connect` reports a lost one as an error."""
    return path.exists() or sqlite_seal.is_lost(path)


def _copy_to_read(path: Path, *, one_thread: bool) -> sqlite3.Connection:
    """Return an in-memory copy of a ledger and its write-ahead log: SQLite cannot open one in a read-only folder."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=one_thread, factory=_Connection)
    try:
        with tempfile.TemporaryDirectory(prefix="bizcharts-") as folder:
            for suffix in ("", "-wal"):
                if (source := Path(f"{path}{suffix}")).exists():
                    shutil.copyfile(source, Path(folder) / f"ledger{suffix}")
            with closing(sqlite3.connect(Path(folder) / "ledger")) as copied:
                copied.backup(memory)
        memory.execute("PRAGMA query_only = ON")
    except BaseException:
        memory.close()
        raise
    return memory


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk is full or read-only; a full disk already prevents the creation of the shared-memory file."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY) or code == sqlite3.SQLITE_IOERR_SHMSIZE


def upgrade(connection: sqlite3.Connection, steps: Sequence[str]) -> bool:
    """Run the schema steps that a ledger lacks, in one transaction; step ``n`` (from 1) leads from version ``n - 1`` to
    ``n``.

    Return whether this program may use the ledger; it may not use one written by a newer version.
    """
    if _version(connection) < len(steps):
        with transaction(connection):
            for step in steps[_version(connection) :]:  # re-read: another process may have upgraded it
                for statement in _statements(step):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {max(_version(connection), len(steps))}")
    return _version(connection) <= len(steps)


@contextmanager
def _named_text_error() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:  # from a value, or from SQLite's own message, which quotes a damaged schema
        raise sqlite3.DatabaseError(_BAD_TEXT) from None


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise sqlite3.DatabaseError(_BAD_TEXT) from None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _use_log(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Turn WAL mode on. SQLite's busy time-out does not apply when several processes do so at once, so this retries."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)
