"""A read of the database, made once for all sessions until what it reads has changed.

A page opens the database for milliseconds and only if it must, so that open pages do not keep the pipeline waiting:
while the file is unchanged nothing is opened, and while the index is unchanged its readings are not read again.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import duckdb
import streamlit as st

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.as_of import Revision, revision
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.log import wal

WAIT_SECONDS = 5.0  # for the database; a page then says that it is busy
MAX_ENTRIES = 64  # results kept, the oldest given up first

P = ParamSpec("P")
T = TypeVar("T")
Read = Callable[Concatenate[duckdb.DuckDBPyConnection, P], T]
CachedRead = Callable[Concatenate[Database, P], T]


def database_of(settings: Settings) -> Database:
    """Return the installation's database for the pages.

    Raises:
        DatabaseUnavailable: there is none; nothing is created. Other :class:`DatabaseError` say what is wrong with it.
    """
    return replace(Database.existing(settings), wait_seconds=min(WAIT_SECONDS, settings.database_wait_seconds))


def once_per_index(read: Read[P, T]) -> CachedRead[P, T]:
    """Make ``read`` a function of the database that reads anew when a reading of the index or a coin has changed."""
    return _cached(read, _index_stamp)


def once_per_file(read: Read[P, T]) -> CachedRead[P, T]:
    """Make ``read`` a function of the database that reads anew when anything in the file has changed."""
    return _cached(read, _file_stamp)


def _cached(read: Read[P, T], stamp: Callable[[Database], object]) -> CachedRead[P, T]:
    @wraps(read)
    def cached_read(database: Database, *args: P.args, **kwargs: P.kwargs) -> T:
        arguments = (args, tuple(sorted(kwargs.items())))
        name = f"{read.__module__}.{read.__qualname__}"
        found = _result(
            name, str(database.path), stamp(database), arguments, database, lambda c: read(c, *args, **kwargs)
        )
        return cast(T, found)

    return cached_read


@st.cache_resource(show_spinner=False, max_entries=MAX_ENTRIES)
def _result(
    name: str, path: str, stamp: object, arguments: object, _database: Database, _read: Callable[..., Any]
) -> object:
    with _database.read() as connection:
        return _read(connection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _revision(path: str, stamp: object, _database: Database) -> Revision:
    with _database.read() as connection:
        return revision(connection)


def _index_stamp(database: Database) -> object:
    found = _revision(str(database.path), _file_stamp(database), database)
    return found.newest_computed_at, found.rows


def _file_stamp(database: Database) -> tuple[int, ...]:
    """What tells one state of the file, and of the log beside it, from the next."""
    stamps: list[int] = []
    for path in (database.path, wal(database.path)):
        try:
            status = path.stat()
        except OSError:
            continue
        stamps += [status.st_ino, status.st_mtime_ns, status.st_size]
    return tuple(stamps)
