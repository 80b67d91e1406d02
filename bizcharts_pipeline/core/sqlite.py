"""SQLite files that many processes write at once, and that lose nothing that was committed: the ledgers.

Each is sealed between its uses (:mod:`bizcharts_pipeline.core.sqlite_seal`), as SQLite itself does not notice damage.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bizcharts_pipeline.core import sqlite_seal

BUSY_SECONDS = 30.0
SQLITE_BEGIN = b"SQLite format 3\0"  # of every SQLite file that is not empty
_PAUSE_SECONDS = 0.01


class _Connection(sqlite3.Connection):
    """A connection whose closing ends the use of the ledger."""

    use: sqlite_seal.Use | None = None

    def close(self) -> None:
        super().close()
        if self.use is not None:
            self.use.end()


def connect(path: Path, busy_seconds: float = BUSY_SECONDS, *, one_thread: bool = True) -> sqlite3.Connection:
    """Open the ledger ``path`` in WAL mode, each commit flushed to the disk; its folder is made if it is missing.

    A statement outside a :func:`transaction` is one by itself. Where the folder cannot be written to, the connection
    is to a copy in memory that refuses every write.

    Args:
        busy_seconds: how long a statement waits for other processes.
        one_thread: only the thread that opened it may use it.

    Raises:
        sqlite3.Error: the file cannot be used, or its log is damaged.
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
    """Hold a transaction that no other process writes beside: committed at the end, rolled back on any exception.

    Inside it the caller may roll it back himself.
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
    """Whether there is a ledger ``path``, or was one: of one that is lost, :func:`connect` says so."""
    return path.exists() or sqlite_seal.is_lost(path)


def _copy_to_read(path: Path, *, one_thread: bool) -> sqlite3.Connection:
    """Return a copy of a ledger in memory, with what its log holds: SQLite itself needs to write beside the file."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=one_thread)
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
    """Whether the disk is full or read-only; a full one already refuses the file that connections share."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY) or code == sqlite3.SQLITE_IOERR_SHMSIZE


def upgrade(connection: sqlite3.Connection, steps: Sequence[str]) -> bool:
    """Run the steps that a ledger lacks, in one transaction; step ``n`` (from 1) makes version ``n`` out of the one
    before it. Return whether this program may use the ledger, which it may not if a newer one has written it."""
    if _version(connection) < len(steps):
        with transaction(connection):
            for step in steps[_version(connection) :]:  # another process may have done it meanwhile
                for statement in _statements(step):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {max(_version(connection), len(steps))}")
    return _version(connection) <= len(steps)


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
    """Turn WAL mode on. Where several processes do so at once to a file without it, SQLite does not wait itself."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)
