"""Verified copies of the database: for backups, and to explore freely.

A copy is made of the file itself while readers' turn is held; every table is read through meanwhile, so that damage in
the original is found and never copied in silence. Writers wait for as long as that takes (about 2 s for a gigabyte).
Then the copy is read through too, and has to hold the same.
"""

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb

from bizcharts_pipeline.files import sync
from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.blocks import find_damage, is_unused
from bizcharts_pipeline.warehouse.contents import Contents, read_contents, unreadable
from bizcharts_pipeline.warehouse.database import Database, connect, cut_log, opening_error
from bizcharts_pipeline.warehouse.errors import BackupError, DatabaseCorrupt, DatabaseError, ForeignDatabase
from bizcharts_pipeline.warehouse.log import read_log, wal
from bizcharts_pipeline.warehouse.statistics import row_counts

COPY_BYTES = 1 << 30
_USE_ANOTHER = "use another copy."
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copied:
    """What a copy holds, by table. ``unused_damage`` says what of the original is damaged without holding any data."""

    tables: Mapping[str, Contents]
    unused_damage: str | None


def snapshot(database: Database, destination: Path) -> None:
    """Write a copy of this moment to ``destination`` for exploration, in place of an earlier one.

    Raises:
        BackupError: ``destination`` is the database itself, some other file, or has no folder, or the copy does not
            agree.
        DatabaseError: the database cannot be read through.
    """
    if destination.resolve() == database.path.resolve():
        raise BackupError(f"{destination} is the database itself; name another file.")
    if destination.exists() and not _is_ours(destination):
        raise BackupError(f"{destination} exists and is no earlier copy; name another file.")
    if not destination.parent.is_dir():
        raise BackupError(f"{destination}: there is no folder {destination.parent}; create it first.")
    draft = destination.with_name(f".{destination.name}.{os.getpid()}.copying")
    try:
        copied = copy_database(database, draft)
        wal(destination).unlink(missing_ok=True)
        os.replace(draft, destination)
        sync(destination.parent)
    finally:
        remove(draft)
    if copied.unused_damage:
        _logger.warning("%s", copied.unused_damage)


def copy_database(database: Database, draft: Path) -> Copied:
    """Copy ``database`` to the new file ``draft``, its log folded in, and compare every table's rows and values.

    Raises:
        DatabaseError: the database is damaged (says which tables can be read) or cannot be used.
        BackupError: the copy does not agree with it.
        OSError: the copy cannot be written.
    """
    # Closing a descriptor drops the locks of the whole process on its file, DuckDB's too: so the files in `after` are
    # closed after the connection.
    with ExitStack() as after, database.read() as connection:
        log = read_log(database.path)
        if log and not log.whole:
            raise DatabaseCorrupt(f"{cut_log(database.path, log)} `bizcharts repair` says what can be kept.")
        original = after.enter_context(database.path.open("rb"))
        damage = find_damage(original)
        tables = _read_through(connection, database.path)
        if damage and not is_unused(damage, connection):
            raise DatabaseCorrupt(f"{database.path} is damaged at {damage}. {_readable(connection)}")
        _copy_bytes(original, draft)
        if log:
            _copy_bytes(after.enter_context(wal(database.path).open("rb")), wal(draft))
    copied = verify(draft, named=draft)
    if copied != tables:
        different = ", ".join(name for name in tables | copied if tables.get(name) != copied.get(name))
        raise BackupError(f"The copy of {database.path} does not agree with it in {different}; see to the disk.")
    if not damage:
        return Copied(copied, None)
    unused = (
        f"{database.path} is damaged at {damage}, where it holds no data: nothing is lost. A kill in the middle of a "
        "write leaves this, or a failing disk; `bizcharts repair` writes the file anew."
    )
    return Copied(copied, unused)


def verify(draft: Path, *, named: Path) -> dict[str, Contents]:
    """Fold the log into the copy ``draft``, read it through, and see that it is one of ours and on disk.

    Args:
        named: how errors call it.

    Returns:
        What its tables hold.

    Raises:
        DatabaseError: it is damaged, or no database of BizCharts that this program knows.
    """
    try:
        with closing(connect(draft, read_only=False)) as connection:
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


def _read_through(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Contents]:
    try:
        return read_contents(connection)
    except duckdb.Error as error:
        raise DatabaseCorrupt(f"{path} is damaged. {_readable(connection)} ({error})") from None


def _readable(connection: duckdb.DuckDBPyConnection) -> str:
    """Say which tables can be read."""
    try:
        tables = unreadable(connection)
    except duckdb.Error:
        return "None of its tables can be read."
    lost = sorted(name for name, reason in tables.items() if reason)
    if not lost:
        return f"All {len(tables)} tables can be read."
    return f"Not readable: {', '.join(lost)}; the other {len(tables) - len(lost)} tables are."


def _is_ours(path: Path) -> bool:
    """Whether ``path`` is a BizCharts database, of whatever version."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            return "schema_migrations" in row_counts(connection)
    except duckdb.Error:
        return False


def _copy_bytes(source: BinaryIO, destination: Path) -> None:
    """Copy inside the kernel, which shares the blocks where the file system can."""
    source.seek(0)
    with open(destination, "xb", opener=_private) as target:
        if not hasattr(os, "copy_file_range"):  # Linux alone has it
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def remove(draft: Path) -> None:
    """Remove a copy that was not finished."""
    for path in (draft, wal(draft)):
        path.unlink(missing_ok=True)
