"""SQLite ledgers: files written by many processes at once, in which every commit is durable.

Each ledger is sealed while no process has it open (:mod:`bizcharts_pipeline.core.sqlite_seal`), because SQLite itself
does not detect damage.
"""

import os
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core import sqlite_seal

BUSY_SECONDS = 30.0
SQLITE_BEGIN = b"SQLite format 3\0"  # first bytes of every non-empty SQLite file
_PAUSE_SECONDS = 0.01
_opened: set[Path] = set()  # by this process; the marks of a ledger disappear with the disk of its home
OTHER_LEDGER = "the file of another ledger is in its place"
_BAD_TEXT = "a text in it is damaged (not UTF-8); `bizcharts repair` shows what can be kept"


class SqliteConnection(sqlite3.Connection):
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

    def begin(self) -> None:
        """Begin a write transaction that excludes every other one."""
        self.execute("BEGIN IMMEDIATE")

    @property
    def version(self) -> int:
        """Version of the schema; 0: the file has none yet."""
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    @version.setter
    def version(self, version: int) -> None:
        self.execute(f"PRAGMA user_version = {int(version)}")

    def execute_for_each(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement that changes rows with each of the parameters; return the number of changed rows."""
        return self.executemany(sql, rows).rowcount

    def define(self, statement: str) -> None:
        """Run a statement of a schema step."""
        self.execute(statement)

    def tables(self) -> list[str]:
        """Return the names of the tables, in order."""
        return table_names(self)

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of ``table``; empty if there is no such table."""
        return [row[1] for row in self.execute(f"PRAGMA table_info({table})")]


def connect(path: Path, busy_seconds: float = BUSY_SECONDS, *, one_thread: bool = True) -> SqliteConnection:
    """Open the ledger ``path`` in WAL mode, with each commit flushed to disk; creates the folder if it is missing.

    A statement outside a transaction is its own transaction. If the folder is not writable, the connection is
    to an in-memory copy that refuses every write.

    Args:
        busy_seconds: how long a statement waits for other processes.
        one_thread: only the thread that opened the connection may use it.

    Raises:
        sqlite3.Error: the file cannot be used, is the one of another ledger, or has a damaged write-ahead log.
    """
    if path.exists() and not os.access(path.parent, os.W_OK):
        return copy_to_read(path, one_thread=one_thread)
    sqlite_seal.wait_for_restore(path, busy_seconds)
    if path in _opened and not path.parent.is_dir():
        raise sqlite3.DatabaseError(f"the folder {path.parent} has disappeared; is its disk mounted?")
    path.parent.mkdir(parents=True, exist_ok=True)
    use = sqlite_seal.begin(path, busy_seconds)
    connection = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=one_thread,
        factory=SqliteConnection,
    )
    connection.use = use
    try:
        _use_log(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
        if is_other_ledger(connection, path):
            raise sqlite3.DatabaseError(OTHER_LEDGER)
        _mark(connection, path)
    except BaseException:
        connection.close()
        raise
    _opened.add(path)
    return connection


def is_known(path: Path) -> bool:
    """Whether the ledger ``path`` exists or has existed; :func:`connect` reports a lost one as an error."""
    return path.exists() or sqlite_seal.is_lost(path)


def is_other_ledger(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the ledger is marked as one of another name than that of ``path``."""
    return _mark_of(connection) not in (0, _mark_for(path))


def _mark(connection: SqliteConnection, path: Path) -> None:
    """Mark a ledger that has no mark yet as the one of its name; another program's file is left as it is."""
    if _mark_of(connection) == 0 and (connection.version or not table_names(connection)):
        with suppress(sqlite3.OperationalError):  # on a full disk; it can be used all the same
            connection.execute(f"PRAGMA application_id = {_mark_for(path)}")


def _mark_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def _mark_for(path: Path) -> int:
    return zlib.crc32(path.name.encode()) >> 1  # SQLite stores it signed


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the tables, but SQLite's own, in order."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return [name for (name,) in connection.execute(query)]


def copy_to_read(path: Path, *, one_thread: bool = True) -> SqliteConnection:
    """Return an in-memory copy of a ledger and its write-ahead log, which refuses every write: SQLite cannot open a
    ledger in a read-only folder.

    Raises:
        sqlite3.Error: the file cannot be used, or is the one of another ledger.
        OSError: it cannot be read, or copied to a temporary folder.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=one_thread, factory=SqliteConnection)
    try:
        with tempfile.TemporaryDirectory(prefix="bizcharts-") as folder:
            for suffix in ("", "-wal"):
                if (source := Path(f"{path}{suffix}")).exists():
                    shutil.copyfile(source, Path(folder) / f"ledger{suffix}")
            with closing(sqlite3.connect(Path(folder) / "ledger")) as copied:
                copied.backup(memory)
        if is_other_ledger(memory, path):
            raise sqlite3.DatabaseError(OTHER_LEDGER)
        memory.execute("PRAGMA query_only = ON")
    except BaseException:
        memory.close()
        raise
    return memory


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk is full or read-only; a full disk already prevents the creation of the shared-memory file."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY) or code == sqlite3.SQLITE_IOERR_SHMSIZE


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
