"""PostgreSQL's side of a lake: the questions to the catalogue, and what its errors mean."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

from bizcharts_pipeline.core.blanking import blank_text
from bizcharts_pipeline.core.postgres import MOVED, one_line, refusal
from bizcharts_pipeline.warehouse.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseFull,
    DatabaseUnavailable,
    StatementRefused,
    disk_is_full,
)
from bizcharts_pipeline.warehouse.values import quoted

CATALOGUE = "catalogue"  # name under which DuckDB has the PostgreSQL database attached
EXTENSIONS = ("postgres_scanner", "ducklake")
LOCK = 0x62697A6C616B65  # the writers', "bizlake"; advisory locks belong to one database of the server
TAKE_LOCK = f"SELECT pg_try_advisory_xact_lock({LOCK})"
HAS_LOCK = f"""
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
AND classid = {LOCK >> 32} AND objid = {LOCK & 0xFFFFFFFF}
"""
LOCK_HOLDER = f"""
SELECT coalesce(application_name, '') FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = {LOCK >> 32} AND objid = {LOCK & 0xFFFFFFFF}
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
IS_THERE = "SELECT to_regclass('public.ducklake_metadata') IS NOT NULL"
FILES = "SELECT value FROM public.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
IS_MOVED = f"SELECT to_regclass('{MOVED}') IS NOT NULL"
MOVED_TO = f"SELECT target, message FROM {MOVED}"
SNAPSHOT = "SELECT max(snapshot_id) FROM public.ducklake_snapshot"
SIZES = """
SELECT coalesce(sum(file_size_bytes), 0)::BIGINT AS all_bytes,
       coalesce(sum(file_size_bytes) FILTER (WHERE end_snapshot IS NOT NULL), 0)::BIGINT AS free_bytes,
       count(*) FILTER (WHERE end_snapshot IS NULL) AS files
FROM (SELECT file_size_bytes, end_snapshot FROM public.ducklake_data_file
      UNION ALL SELECT file_size_bytes, end_snapshot FROM public.ducklake_delete_file) AS files
"""
_AWAY = re.compile(
    "Unable to connect|could not connect|connection to server|server closed the connection|terminating connection|"
    "no connection to the server|timeout expired|could not (receive|send) data|Connection (refused|reset|timed out)|"
    "Current transaction is aborted|"  # by an error that DuckDB has not told
    "SSL SYSCALL|database system is|remaining connection slots|too many clients|could not translate host name|"
    'Failed to execute query "[^"]*":$',  # libpq has no words for a connection that is lost already
    re.IGNORECASE,
)
_NO_FILE = re.compile(r"Cannot open file|No such file|Failed to create directory|Input/output error", re.IGNORECASE)
_BUCKET_FAILS = re.compile(r"HTTP Error: |error for HTTP [A-Z]+ to '")
_STATEMENT = re.compile('^.*": | LINE [0-9]+: .*')  # that DuckDB's own message repeats, before libpq's
_DUCKDBS_ADVICE = re.compile(" Authentication Failure - this is usually.*| LINE 1: .*")
_OVERTAKEN = "maximum retry count"


def named_error(name: str, error: duckdb.Error) -> DatabaseError:
    """Return what ``error`` means for the lake ``name``, in one line without a password."""
    message = one_line(str(error))
    if refused := refusal(message):
        return DatabaseUnavailable(f"{name}: {refused}")
    if _OVERTAKEN in message and not _AWAY.search(message):
        return DatabaseBusy(
            f"{name}: another program wrote at the same time, so nothing was written; try again. Only "
            "BizCharts may write to the lake."
        )
    if _BUCKET_FAILS.search(message):
        reason = blank_text(_DUCKDBS_ADVICE.sub("", message))  # the service may repeat a token
        return DatabaseUnavailable(f"{name}: the bucket of the lake's files cannot be used. ({reason})")
    if disk_is_full(message):
        return DatabaseFull(f"{name}: nothing was written, because a disk is full; free some space. ({message})")
    if _AWAY.search(message):
        return DatabaseUnavailable(f"{name}: PostgreSQL does not answer. ({_STATEMENT.sub('', message)})")
    if _NO_FILE.search(message):
        return DatabaseUnavailable(
            f"{name}: a file of the lake cannot be opened; is its disk mounted? If PostgreSQL has restarted, the next "
            f"write repairs this. ({message})"
        )
    return StatementRefused(f"{name}: DuckDB refused a statement: {message}")


@cache
def extension_file(name: str) -> Path:
    """Return the file of a DuckDB extension, from its Python package; nothing is downloaded.

    Raises:
        DatabaseUnavailable: its package is not installed, or is of another version of DuckDB.
    """
    package = find_spec(f"duckdb_extension_{name}")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.is_file():
            return path
    raise DatabaseUnavailable(f"The package of DuckDB's extension {name} is not installed: run `make install-lake`.")


def row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the only row that the lake's PostgreSQL answers to ``query``, in the transaction of ``connection``."""
    return next(iter(ask_all(connection, query)), (0,))


def ask_all(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Return all rows that the lake's PostgreSQL answers to ``query``, in the transaction of ``connection``."""
    return connection.execute(f"FROM postgres_query('{CATALOGUE}', {quoted(query)})").fetchall()


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the first value of the only row that the lake's PostgreSQL answers to ``query``."""
    return row(connection, query)[0]
