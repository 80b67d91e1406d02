"""Compaction: DuckDB does not return the space of deleted rows to the file system, so the file is rewritten."""

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.files import remove_tree, sync
from bizcharts_pipeline.warehouse import closed
from bizcharts_pipeline.warehouse.contents import read_contents
from bizcharts_pipeline.warehouse.copies import remove, verify
from bizcharts_pipeline.warehouse.database_file import DatabaseFile, opening_error
from bizcharts_pipeline.warehouse.errors import BackupError
from bizcharts_pipeline.warehouse.interrupts import passed_on
from bizcharts_pipeline.warehouse.log import wal

FREE_SHARE = 0.25  # minimum free share of the file
FREE_BYTES = 16 << 20  # and minimum free bytes
MEMORY = "1GB"
THREADS = 4
_SUFFIX = ".compacting"
_SPILLED = "compacting.tmp"  # folder of what does not fit into memory


@dataclass(frozen=True)
class Compaction:
    """File size in bytes before and after, and the free bytes in it before."""

    bytes_before: int
    free_bytes: int
    bytes_after: int
    worth_it: bool
    done: bool


def compact(database: DatabaseFile, *, dry_run: bool = False) -> Compaction:
    """Rewrite ``database`` if a large part of its file is free, and remove what a killed rewrite left.

    The copy is compared with the original and replaces it atomically. Readers and writers wait meanwhile (about 20 s
    per gigabyte).

    Raises:
        BackupError: the copy does not agree with the original, which stays as it is.
        DatabaseError: the database cannot be used, or the disk is full; it stays as it is.
    """
    with database.read() as connection:
        before = database.path.stat().st_size
        free = max(before - _bytes_in_use(connection), 0)
    worth_it = free >= max(FREE_BYTES, FREE_SHARE * before)
    if worth_it and not dry_run:
        with database.replacing():
            rewrite(database.path)
    elif not dry_run and _leftovers(database.path):
        with database.exclusive():
            _remove_leftovers(database.path)
    return Compaction(before, free, database.path.stat().st_size, worth_it, worth_it and not dry_run)


def limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the memory that DuckDB uses for a large rewrite well below two gigabytes; DuckDB spills the rest to disk."""
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute(f"SET threads = {min(THREADS, os.cpu_count() or 1)}")


def rewrite(path: Path, kept: Path | None = None) -> None:
    """Rewrite the DuckDB file ``path`` from the rows of its tables; the caller holds the exclusive database lock.

    Args:
        kept: new name of the replaced file; if ``None`` it is deleted.

    Raises:
        BackupError: the copy does not agree with the original, which stays as it is.
        DatabaseError: a table cannot be read, or the disk is full; the original stays as it is.
    """
    draft = Path(f"{path}.{os.getpid()}{_SUFFIX}")
    _remove_leftovers(path)
    try:
        # The original stays open, and so locked for other programs, until the copy has replaced it.
        with closing(_in_memory(path.parent)) as connection, passed_on(connection):
            connection.execute(f"ATTACH '{_quoted(path)}' AS original (READ_ONLY)")
            connection.execute(f"ATTACH '{_quoted(draft)}' AS draft")
            connection.execute("COPY FROM DATABASE original TO draft")
            connection.execute("DETACH draft")
            connection.execute("USE original")
            tables, columns = read_contents(connection), _columns(connection)
            copied = verify(draft, named=path)
            with closing(duckdb.connect(str(draft), read_only=True)) as copy, passed_on(copy):
                agrees = copied == tables and _columns(copy) == columns
            if not agrees or wal(path).exists():
                raise BackupError(f"{path}: the compacted copy does not agree with it; it stays as it is.")
            shutil.copymode(path, draft)
            if kept:
                os.link(path, kept)
            closed.unseal(path)
            os.replace(draft, path)
            sync(path.parent)
        closed.seal(path)
    except duckdb.Error as error:
        raise opening_error(path, str(error)) from error
    finally:
        remove(draft)


def _leftovers(path: Path) -> list[Path]:
    """Return what rewrites left that were killed, if the caller holds the exclusive database lock."""
    return [*path.parent.glob(f"{path.name}.*{_SUFFIX}*"), *path.parent.glob(_SPILLED)]


def _remove_leftovers(path: Path) -> None:
    for leftover in _leftovers(path):
        remove_tree(leftover)


def _in_memory(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection that can access only the database's own folder."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    with passed_on(connection):
        connection.execute(f"SET allowed_directories = ['{_quoted(folder)}']")
        connection.execute(f"SET temp_directory = '{_quoted(folder / _SPILLED)}'")
        connection.execute("SET enable_external_access = false")
        limit_memory(connection)
    return connection


def _bytes_in_use(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT used_blocks * block_size FROM pragma_database_size()").fetchone()
    assert row
    return int(row[0])


def _columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT table_name, column_name, data_type, column_default, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND NOT internal ORDER BY table_name, column_index"
    ).fetchall()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
