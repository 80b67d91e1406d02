"""A read of the database, made once for all sessions until what it reads has changed.

A page opens the database for milliseconds and only if it must, so that open pages do not keep the pipeline waiting:
while the file is unchanged nothing is opened, and while the index is unchanged its readings are not read again. Of each
read only the newest result is kept, and that no longer than pages ask for it, so that memory stays bounded.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import duckdb

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.as_of import Revision, revision
from bizcharts_pipeline.warehouse.database import Database

WAIT_SECONDS = 5.0  # for the database; a page then says that it is busy
KEPT_SECONDS = 600.0  # after a result was asked for last; open pages ask every minute
MAX_RESULTS = 64

P = ParamSpec("P")
T = TypeVar("T")
Read = Callable[Concatenate[duckdb.DuckDBPyConnection, P], T]
CachedRead = Callable[Concatenate[Database, P], T]


@dataclass
class _Result:
    stamp: object
    value: object
    asked_at: float


@dataclass
class Results:
    """Results of reads by what was read, each of the newest state alone. ``clock``: monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    _kept: dict[object, _Result] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: object, stamp: object, read: Callable[[], object]) -> object:
        """Return the result of a page's read kept for ``key`` if it is of the state ``stamp``, else that of ``read``,
        which is kept.

        Reads take turns. What ``read`` raises is passed on.
        """
        if (found := self._found(key, stamp)) is None:
            with self._reading:
                if (found := self._found(key, stamp)) is None:
                    found = _Result(stamp, read(), self.clock())
                    self._keep(key, found)
        return found.value

    def __len__(self) -> int:
        return len(self._kept)

    def _found(self, key: object, stamp: object) -> _Result | None:
        found = self._kept.get(key)
        if found is None or found.stamp != stamp:
            return None
        found.asked_at = self.clock()
        return found

    def _keep(self, key: object, result: _Result) -> None:
        kept = {**self._kept, key: result}
        newest = sorted(kept.items(), key=lambda item: -item[1].asked_at)[:MAX_RESULTS]
        since = self.clock() - KEPT_SECONDS
        self._kept = {each: found for each, found in newest if found.asked_at >= since}


_results = Results()


def database_of(settings: Settings) -> Database:
    """Return the installation's database for the app's pages.

    Raises:
        DatabaseUnavailable: there is none; nothing is created. Other :class:`DatabaseError` say what is wrong with it.
    """
    return Database.existing(settings).waiting(min(WAIT_SECONDS, settings.database_wait_seconds))


def once_per_index(read: Read[P, T]) -> CachedRead[P, T]:
    """Make ``read``, a query of the app's pages, a function of the database that reads again only if an index or coin
    reading has changed."""
    return _cached(read, _index_stamp)


def once_per_file(read: Read[P, T]) -> CachedRead[P, T]:
    """Make ``read``, a query of the app's pages, a function of the database that reads again only if the file has
    changed."""
    return _cached(read, lambda database: database.stamp())


def kept_per_index(database: Database, key: object, read: Callable[[], T]) -> T:
    """Return for a page of the app the result of ``read``, which opens the database itself; ``key`` names what it
    depends on besides.

    It is called again only if an index or coin reading has changed. What it raises is passed on.
    """
    return cast(T, _results.get((key, database.name), _index_stamp(database), read))


def _cached(read: Read[P, T], stamp: Callable[[Database], object]) -> CachedRead[P, T]:
    @wraps(read)
    def cached_read(database: Database, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (read.__module__, read.__qualname__, database.name, args, tuple(sorted(kwargs.items())))
        found = _results.get(key, stamp(database), lambda: _opened(database, lambda c: read(c, *args, **kwargs)))
        return cast(T, found)

    return cast(CachedRead[P, T], cached_read)


def _opened(database: Database, read: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
    with database.read() as connection:
        return read(connection)


def _index_stamp(database: Database) -> Revision:
    found = _results.get(("revision", database.name), database.stamp(), lambda: _opened(database, revision))
    return cast(Revision, found)
