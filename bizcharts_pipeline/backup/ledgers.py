"""Integrity checks of the SQLite ledgers of a home, and consistent copies while they are in use."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from bizcharts_pipeline.backup.errors import BackupFailed
from bizcharts_pipeline.core.sqlite import BUSY_SECONDS
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
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # a name in a damaged schema may be invalid UTF-8


def find_problem(path: Path) -> str | None:
    """Return the fault of the ledger ``path``; ``None`` if it is intact.

    Its seal and its log can be checked only while no process has it open; its structure always.
    """
    try:
        with exclusive_lock(path) as exclusive:
            if exclusive:
                if is_lost(path):
                    return lost(path)
                if log := foreign_log(path):
                    return foreign(log, path)
                if fault := find_fault(path):
                    return f"{fault.text}."
                if is_broken(path):
                    return broken(path)
            with closing(_read_only(path)) as connection:
                return _structural_problem(path, connection)
    except (*UNREADABLE, OSError) as error:
        return f"{path} cannot be read ({getattr(error, 'strerror', None) or error})."


def copy_ledger(path: Path, draft: Path) -> dict[str, int]:
    """Write a consistent copy of the ledger ``path`` to the new file ``draft``, without a log; return the rows by
    table.

    Raises:
        BackupFailed: the copy does not agree with it, or the disk is full.
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
        raise BackupFailed(f"{path} cannot be copied: {error}; no backup was made.") from None
    if problem or after != before:
        raise BackupFailed(f"The copy of {path} does not agree with it; check the disk. No backup was made.")
    return {table: rows for table, (rows, _) in after.items()}


def readable_rows(path: Path) -> dict[str, int | None]:
    """Return the number of readable rows of each table, ``None`` if not all; empty if nothing is readable."""
    found: dict[str, int | None] = {}
    try:
        with closing(_read_only(path)) as connection:
            for table in _tables(connection):
                try:
                    found[table] = sum(1 for _ in connection.execute(f'SELECT * FROM "{table}"'))
                except UNREADABLE:
                    found[table] = None
    except UNREADABLE:
        return found
    return found


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


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return [name for (name,) in connection.execute(query)]


def _contents(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """Return the rows of each table, and a digest of all their values."""
    found = {}
    for table in _tables(connection):
        digest, rows = hashlib.sha256(), 0
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            digest.update(repr(row).encode())
            rows += 1
        found[table] = rows, digest.hexdigest()
    return found
