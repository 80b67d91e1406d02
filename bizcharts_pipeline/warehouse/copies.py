"""Verified copies of the database: for backups and for exploration.

The file itself is copied under the shared database lock; every table is read meanwhile, so that damage in the original
is detected and not copied silently. Writers wait as long as that takes (about 2 s per gigabyte). Then the copy is read
too, and its contents are compared.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import BinaryIO

import duckdb

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.file_lock import abandoned, new_locked_folder, remove_locked_folder
from bizcharts_pipeline.core.files import open_regular, owner_only, read_regular, sync, write_atomically
from bizcharts_pipeline.warehouse import closed, migrations
from bizcharts_pipeline.warehouse.blocks import find_damage
from bizcharts_pipeline.warehouse.contents import Contents, read_contents, unreadable
from bizcharts_pipeline.warehouse.database_file import OWN_TABLE, DatabaseFile, connect, opening_error, tables_of
from bizcharts_pipeline.warehouse.errors import (
    BackupError,
    DatabaseChanged,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseLogCorrupt,
    ForeignDatabase,
)
from bizcharts_pipeline.warehouse.interrupts import passed_on
from bizcharts_pipeline.warehouse.log import Log, cut_log, read_log, wal

COPY_BYTES = 1 << 30
_COPYING = ".copying"
REPAIR = "`bizcharts repair` shows what can be done."
_USE_ANOTHER = "use another copy."


def snapshot(database: DatabaseFile, destination: Path) -> None:
    """Write a current copy of the database to ``destination`` for exploration; replaces an earlier copy.

    Raises:
        BackupError: ``destination`` is the database itself, another file or in a missing folder, or the copy does not
            agree.
        DatabaseError: the database cannot be read completely.
    """
    if destination.resolve() == database.path.resolve():
        raise BackupError(f"{destination} is the database itself; name another file.")
    if destination.exists() and OWN_TABLE not in tables_of(destination):
        raise BackupError(f"{destination} exists and is not an earlier copy; name another file.")
    if not destination.parent.is_dir():
        raise BackupError(f"{destination}: the folder {destination.parent} does not exist; create it first.")
    with _new_draft(destination) as draft:
        copy_database(database, draft)
        wal(destination).unlink(missing_ok=True)
        os.replace(draft, destination)
        sync(destination.parent)


@contextmanager
def _new_draft(destination: Path) -> Iterator[Path]:
    """Yield the name of an unfinished copy in a locked folder beside ``destination``; first remove those that killed
    processes left of the same name."""
    for path in destination.parent.glob(f".{escape(destination.name)}.*{_COPYING}*"):
        with suppress(OSError), abandoned(path) as is_abandoned:
            if is_abandoned:
                remove_locked_folder(path)
    folder = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}{_COPYING}")
    with new_locked_folder(folder):
        try:
            yield folder / destination.name
        finally:
            remove_locked_folder(folder)


def copy_database(database: DatabaseFile, draft: Path) -> dict[str, Contents]:
    """Copy ``database``, its log included, to the new file ``draft``; compare the contents of all tables and return
    them.

    Raises:
        DatabaseError: the database is damaged (names the readable tables) or cannot be used.
        BackupError: the copy does not agree with it.
        OSError: the copy cannot be written.
    """
    with _verified(database) as source:
        _copy_bytes(source.file, draft)
        if source.log:
            _copy_bytes(source.log, wal(draft))
    copied = verify(draft, named=draft)
    if copied != source.tables:
        differing = source.tables.items() ^ copied.items()
        different = ", ".join(sorted({name for name, _ in differing}))
        raise BackupError(
            f"The copy of {database.path} differs from it in {different}, so there is no backup; check the disk, and "
            "try again."
        )
    return copied


def copy_file(source: Path, draft: Path) -> None:
    """Copy the DuckDB file ``source``, which no process of ours writes, and its log to the new file ``draft``.

    Raises:
        DatabaseCorrupt: a block has a wrong checksum, or the log is damaged.
        OSError: the file cannot be read, or the copy cannot be written.
    """
    log = read_log(source)
    if log and log.damaged:
        raise DatabaseLogCorrupt(f"{cut_log(source, log)} {_USE_ANOTHER.capitalize()}")
    with open_regular(source) as original:
        if damage := find_damage(original):
            raise DatabaseCorrupt(f"{source} is damaged at {damage}; {_USE_ANOTHER}")
        _copy_bytes(original, draft)
    if log:
        with open_regular(wal(source)) as original:
            _copy_bytes(original, wal(draft))


def verify(draft: Path, *, named: Path) -> dict[str, Contents]:
    """Check the copy ``draft`` of the database: merge its log into it, read it completely, check its schema, and flush
    it to disk.

    Args:
        named: name of the file in errors.

    Returns:
        The contents of its tables.

    Raises:
        DatabaseError: it is damaged, or not a BizCharts database that this program knows.
    """
    try:
        with closing(connect(draft, read_only=False)) as connection, passed_on(connection):
            migrations.pending(connection, migrations.known_migrations())
            tables = read_contents(connection)
            if "schema_migrations" not in tables or not tables["schema_migrations"].rows:
                raise ForeignDatabase("It is empty: no migration was ever applied to it.")
    except duckdb.Error as error:
        raise opening_error(named, str(error), _USE_ANOTHER) from None
    except DatabaseError as error:
        raise type(error)(f"{named}: {error}") from None
    sync(draft)
    return tables


def replay_log(path: Path, damaged: Path, log: Log) -> int:
    """Write the readable beginning of the ``damaged`` write-ahead log as the log of the DuckDB file ``path``, which
    must not have one.

    Return the number of transactions in it. The caller holds the exclusive database lock.
    """
    content = read_regular(damaged)
    least, most = 0, len(log.commits)
    while least < most:
        middle = (least + most + 1) // 2
        write_atomically(wal(path), content[: log.commits[middle - 1]])
        try:
            connect(path, read_only=True).close()
            least = middle
        except duckdb.Error:
            most = middle - 1
    if least:
        write_atomically(wal(path), content[: log.commits[least - 1]])
    else:
        wal(path).unlink(missing_ok=True)
    return least


def check_database(database: DatabaseFile) -> None:
    """Read ``database`` completely.

    Raises:
        DatabaseCorrupt: it or its log is damaged; names the readable tables.
        DatabaseChanged: another program has changed or replaced it.
        DatabaseError: it cannot be used.
    """
    with _verified(database):
        pass


def all_readable(database: DatabaseFile) -> bool:
    """Whether every row of every table of ``database`` can be read, even if the file has other damage."""
    try:
        with database.read() as connection:
            return not any(unreadable(connection).values())
    except DatabaseError:
        return False


@dataclass(frozen=True)
class _Source:
    """A locked database: its file, its log if it has one, and the contents of its tables."""

    file: BinaryIO
    log: BinaryIO | None
    tables: dict[str, Contents]


@contextmanager
def _verified(database: DatabaseFile) -> Iterator[_Source]:
    """Hold the shared lock, read the database completely, and yield it."""
    # Closing a descriptor drops the locks of the whole process on its file, DuckDB's too: so the files in `after` are
    # closed after the connection.
    with ExitStack() as after, database.read() as connection:
        path = database.path
        log = read_log(path)
        if log and log.damaged:
            raise DatabaseLogCorrupt(f"{cut_log(path, log)} {REPAIR}")
        file = after.enter_context(open_regular(path))
        damage = find_damage(file)
        tables = _read_through(connection, path)
        if damage:
            raise DatabaseCorrupt(f"{path} is damaged at {damage}. {_readable(connection)} {REPAIR}")
        if closed.is_changed(path, file.fileno()):
            raise DatabaseChanged(f"{closed.changed(path)} {REPAIR}")
        yield _Source(file, after.enter_context(open_regular(wal(path))) if log else None, tables)


def _read_through(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Contents]:
    try:
        return read_contents(connection)
    except duckdb.Error as error:
        raise DatabaseCorrupt(f"{path} is damaged. {_readable(connection)} {REPAIR} ({reason_of(error)})") from None


def _readable(connection: duckdb.DuckDBPyConnection) -> str:
    """Describe which tables can be read."""
    try:
        tables = unreadable(connection)
    except duckdb.Error:
        return "None of its tables can be read."
    lost = sorted(name for name, reason in tables.items() if reason)
    if not lost:
        return "All tables can be read."
    return f"Not readable: {', '.join(lost)}; the other {len(tables) - len(lost)} tables are readable."


def _copy_bytes(source: BinaryIO, destination: Path) -> None:
    """Copy within the kernel, which shares blocks on file systems that support it."""
    source.seek(0)
    with open(destination, "xb", opener=owner_only) as target:
        if not hasattr(os, "copy_file_range"):  # Linux only
            shutil.copyfileobj(source, target)
            return
        try:
            while os.copy_file_range(source.fileno(), target.fileno(), COPY_BYTES):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            source.seek(0)
            target.seek(0)
            shutil.copyfileobj(source, target)


def remove(draft: Path) -> None:
    """Remove an unfinished copy of the database."""
    for path in (draft, wal(draft)):
        path.unlink(missing_ok=True)
