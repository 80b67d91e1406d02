"""Integrity checks of the SQLite ledgers of a home, and consistent copies while they are in use."""

import errno
import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bizcharts_pipeline.backup.errors import BackupFailed
from bizcharts_pipeline.core.sqlite import BUSY_SECONDS, OTHER_LEDGER, is_full, is_other_ledger, table_names
from bizcharts_pipeline.core.sqlite_log import find_fault
from bizcharts_pipeline.core.sqlite_seal import (
    broken,
    exclusive_lock,
    foreign,
    foreign_log,
    is_broken,
    is_lost,
    lost,
    refuse_pipes,
)

MAX_PROBLEMS = 3
UNREADABLE = (sqlite3.Error, UnicodeError)  # a name in a damaged schema may be invalid UTF-8


@dataclass(frozen=True)
class Readable:
    """Number of readable rows of a table; ``all``: whether it has no others."""

    rows: int
    all: bool


DISK = "Its disk may be full, read-only or failing, and the ledger intact: look again when the disk is well."
_DISK_ERRORS = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
)


def find_problem(path: Path) -> str | None:
    """Return the fault of the ledger ``path`` before it is backed up or repaired; ``None`` if it is intact.

    Its seal and its log can be checked only while no process has it open; its structure and text always. A log that
    ends in an incomplete commit is no fault: a kill leaves it so.
    """
    try:
        with exclusive_lock(path) as exclusive:
            if exclusive:
                if is_lost(path):
                    return lost(path)
                if log := foreign_log(path):
                    return foreign(log, path)
                if (fault := find_fault(path)) and not fault.cut:
                    return f"{fault.text}."
                if is_broken(path):
                    return broken(path)
            with closing(_read_only(path)) as connection:
                if is_other_ledger(connection, path):
                    return f"{path} cannot be used: {OTHER_LEDGER}."
                return _structural_problem(path, connection) or _text_problem(path, connection)
    except UnicodeError:
        return f"{path} cannot be read (its schema has text that is not UTF-8)."
    except (sqlite3.Error, OSError) as error:
        return unreadable(path, error)


def unreadable(path: Path, error: sqlite3.Error | OSError) -> str:
    """Return the problem of a ledger that cannot be read to be backed up; it is not damaged where the disk is the
    reason."""
    reason = getattr(error, "strerror", None) or str(error)
    of_disk = isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS
    return f"{path} cannot be read ({reason}).{f' {DISK}' if of_disk else ''}"


def copy_ledger(path: Path, draft: Path) -> dict[str, int]:
    """Write a consistent copy of the ledger ``path`` for a backup to the new file ``draft``, without a log; return the
    rows by table.

    Raises:
        BackupFailed: the copy does not agree with it.
        OSError: the disk is full.
    """
    try:
        with closing(_read_only(path)) as source, closing(sqlite3.connect(draft)) as copy:
            copy.text_factory = _as_text
            source.execute("BEGIN")
            before = _contents(source)
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            problem, after = _structural_problem(path, copy), _contents(copy)
    except UNREADABLE as error:
        if isinstance(error, sqlite3.Error) and is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(draft)) from None
        raise BackupFailed(f"{path} cannot be copied: {error}; no backup was made.") from None
    if problem or after != before:
        raise BackupFailed(f"The copy of {path} does not agree with it; check the disk. No backup was made.")
    return {table: rows for table, (rows, _) in after.items()}


def readable_rows(path: Path) -> dict[str, Readable]:
    """Return what is readable of each table of a damaged ledger; empty if nothing is."""
    found: dict[str, Readable] = {}
    try:
        with closing(_read_only(path)) as connection:
            connection.execute("PRAGMA writable_schema = ON")  # a damaged entry of the schema then hides only itself
            for table in table_names(connection):
                found[table] = _readable(connection, table)
    except UNREADABLE:
        return found
    return found


def _readable(connection: sqlite3.Connection, table: str) -> Readable:
    """Count the rows up to the first page that SQLite cannot read, without those that have damaged text."""
    damaged_texts = 0

    def decode(content: bytes) -> str:
        nonlocal damaged_texts
        try:
            return content.decode()
        except UnicodeDecodeError:
            damaged_texts += 1
            return _as_text(content)

    sound = damaged = 0
    connection.text_factory = decode
    try:
        for _ in connection.execute(f'SELECT * FROM "{table}"'):
            sound, damaged, damaged_texts = sound + (not damaged_texts), damaged + bool(damaged_texts), 0
    except UNREADABLE:
        return Readable(sound, all=False)
    finally:
        connection.text_factory = _as_text
    return Readable(sound, all=not damaged)


def _read_only(path: Path) -> sqlite3.Connection:
    refuse_pipes(path)
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    connection.text_factory = _as_text
    return connection


def _as_text(content: bytes) -> str:
    """Decode a value that may be damaged."""
    return content.decode(errors="surrogateescape")


def _structural_problem(path: Path, connection: sqlite3.Connection) -> str | None:
    rows = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})")]
    return None if rows == ["ok"] else f"{path} is damaged ({'; '.join(rows)})."


def _text_problem(path: Path, connection: sqlite3.Connection) -> str | None:
    connection.text_factory = str
    for table in ("sqlite_schema", *table_names(connection)):
        try:
            for _ in connection.execute(f'SELECT * FROM "{table}"'):
                pass
        except UNREADABLE:
            return f"{path} is damaged (a text in the table {table} is not UTF-8)."
    return None


def _contents(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """Return the rows of each table, and a digest of all their values."""
    found = {}
    for table in table_names(connection):
        digest, rows = hashlib.sha256(), 0
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            digest.update(repr(row).encode())
            rows += 1
        found[table] = rows, digest.hexdigest()
    return found
