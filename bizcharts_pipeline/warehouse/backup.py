"""Whole copies of the database: backups, the way back, and read copies for free exploration.

A copy is made of the file itself while readers' turn is held, so writers wait for no longer than the bytes
take; on a file system that shares blocks (XFS, Btrfs) that is no time at all. Everything else happens on the
copy.
"""

import errno
import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

import duckdb

from bizcharts_pipeline.clock import utc_now
from bizcharts_pipeline.files import sync
from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.database import Database, connect, opening_error, wal
from bizcharts_pipeline.warehouse.errors import BackupError, DatabaseError, ForeignDatabase
from bizcharts_pipeline.warehouse.statistics import row_counts

COPY_BYTES = 1 << 30


def backup(database: Database, destination: Path) -> None:
    """Copy ``database`` to the new file ``destination``, open the copy and compare its tables row by row
    count.

    Raises:
        BackupError: ``destination`` exists, has no folder, or the copy does not agree; no file is left.
    """
    if destination.exists():
        raise BackupError(f"{destination} exists already; name a new file.")
    _copy(database, destination)


def snapshot(database: Database, destination: Path) -> None:
    """Write a copy of this moment to ``destination`` for exploration, in place of an earlier one.

    Raises:
        BackupError: ``destination`` is the database itself, some other file, or has no folder, or the copy does not
            agree.
    """
    if destination.resolve() == database.path.resolve():
        raise BackupError(f"{destination} is the database itself; name another file.")
    if destination.exists() and not _is_ours(destination):
        raise BackupError(f"{destination} exists and is no earlier copy; name another file.")
    _copy(database, destination)


def restore(database: Database, source: Path) -> Path | None:
    """Put the backup ``source`` in the place of ``database``; return where the replaced file is kept, if
    there was one.

    The backup is copied and looked through first; the replaced database, sound or not, stays beside the new
    one as ``<name>.before-restore-<time>``. An older schema is brought up to date by the next opening.

    Raises:
        BackupError: ``source`` is not there, or is the database itself.
        DatabaseError: ``source`` is no BizCharts database that this program knows; nothing was replaced.
    """
    if not source.is_file():
        raise BackupError(f"{source}: there is no such file.")
    if source.resolve() == database.path.resolve():
        raise BackupError(f"{source} is the database itself; name a backup of it.")
    draft = Path(f"{database.path}.{os.getpid()}.restoring")
    kept = Path(f"{database.path}.before-restore-{utc_now():%Y%m%dT%H%M%S%f}")
    try:
        with source.open("rb") as original:
            _copy_bytes(original, draft)
        if wal(source).exists():
            with wal(source).open("rb") as original:
                _copy_bytes(original, wal(draft))
        verify(draft, named=source)
        with database.replacing():
            replaced = database.path.exists()
            if replaced:
                os.link(database.path, kept)
            if wal(database.path).exists():
                os.replace(wal(database.path), wal(kept))
            os.replace(draft, database.path)
            sync(database.path.parent)
    finally:
        remove(draft)
    return kept if replaced else None


def _copy(database: Database, destination: Path) -> None:
    if not destination.parent.is_dir():
        raise BackupError(f"{destination}: there is no folder {destination.parent}; create it first.")
    draft = destination.with_name(f".{destination.name}.{os.getpid()}.copying")
    try:
        # Closing a descriptor drops the locks of the whole process on its file, DuckDB's too: so the files in
        # `after` are closed after the connection.
        with ExitStack() as after, database.read() as connection:
            rows = row_counts(connection)
            _copy_bytes(after.enter_context(database.path.open("rb")), draft)
            if wal(database.path).exists():
                _copy_bytes(after.enter_context(wal(database.path).open("rb")), wal(draft))
        copied = verify(draft, named=destination)
        if copied != rows:
            raise BackupError(f"The copy for {destination} does not agree with the database: {copied} for {rows}.")
        wal(destination).unlink(missing_ok=True)
        os.replace(draft, destination)
        sync(destination.parent)
    finally:
        remove(draft)


def verify(draft: Path, *, named: Path) -> dict[str, int]:
    """Fold the log into ``draft``, see that it is one of ours and on disk; return its row counts."""
    try:
        with closing(connect(draft, read_only=False)) as connection:
            migrations.pending(connection, migrations.known_migrations())
            rows = row_counts(connection)
            if not rows.get("schema_migrations"):
                raise ForeignDatabase("It is empty: no migration was ever applied to it.")
    except duckdb.Error as error:
        raise opening_error(named, str(error)) from None
    except DatabaseError as error:
        raise type(error)(f"{named}: {error}") from None
    sync(draft)
    return rows


def _is_ours(path: Path) -> bool:
    """Whether ``path`` is a BizCharts database, of whatever version."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            return "schema_migrations" in row_counts(connection)
    except duckdb.Error:
        return False


def _copy_bytes(source: BinaryIO, destination: Path) -> None:
    """Copy inside the kernel, which shares the blocks where the file system can."""
    with destination.open("xb") as target:
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


def remove(draft: Path) -> None:
    for path in (draft, wal(draft)):
        path.unlink(missing_ok=True)
