"""The warehouse as a Dagster resource."""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from bizcharts_pipeline.core import ledgers
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.warehouse.database import Database

MACHINE_TAG = "bizcharts/machine"  # of a run that holds a lock in PostgreSQL: the name of the host that executes it


class Warehouse(DuckDBResource):
    """The database that contains every table; each connection is open for milliseconds only.

    It has the configuration of ``dagster_duckdb.DuckDBResource``, and looks like it in the UI. Its connections come
    from :class:`~bizcharts_pipeline.warehouse.database.Database`, which queues for the database lock, offers read-only
    connections and always closes them.
    """

    home: str = Field("", description="The installation's home; empty: the database is created if missing.")
    files: str = Field("", description="Folder of a lake's files; empty: the one that its catalogue names.")
    witnesses: list[str] = Field([], description="Pages of sources whose Date header checks the clock; or none.")
    seconds_per_request: float = Field(2, description="Minimum time between two requests to one of them.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")
    wait_seconds: float = Field(60, description="Maximum wait for a database that another process holds open.")
    _lock: ExitStack | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Hold a lock that shows that this run is alive, on a lake to all machines that share it; not in a lost home,
        nor beside a file that is no database: no folder must be created there."""
        try:
            self._named().check()
        except BizchartsError:
            return  # the asset reports the reason
        if context.run is None or self._lock is not None:
            return
        self._lock, folder = ExitStack(), self.run_locks_folder()
        with suppress(sqlite3.Error):  # the asset reports that the server does not answer
            self._lock.enter_context(ledgers.alive(folder, context.run.run_id))
            if ledgers.is_shared(folder) and context.instance is not None:
                context.instance.add_run_tags(context.run.run_id, {MACHINE_TAG: socket.gethostname()})

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Release the lock at the end of the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def run_locks_folder(self) -> Path:
        """Return the folder of the locks of runs that use this database."""
        return self._named().runs

    def open(self) -> Database:
        """Return the database; it is opened only by ``read()`` or ``write()``.

        Raises:
            DatabaseLost: it is missing, although the installation has had one.
        """
        database = self._named()
        database.prepare()
        return database

    def open_at(self, now: datetime, *, to_delete: bool = False) -> Database:
        """Return the database for rows that become final at ``now`` (naive UTC), or for deleting rows that are too old
        then.

        Raises:
            ClockDisagrees: the clock is implausible; see docs/operating.md.
            DatabaseLost: as :meth:`open`.
        """
        database = self.open()
        if self.witnesses:
            from bizcharts_pipeline.warehouse.present import Witnesses, check_clock, check_clock_to_delete

            witnesses = Witnesses(tuple(self.witnesses), self.seconds_per_request, self.contact)
            check = check_clock_to_delete if to_delete else check_clock
            check(database, Path(self.home), witnesses, now)
        return database

    def _named(self) -> Database:
        return Database.named(self.database, Path(self.home) if self.home else None, self.wait_seconds, self.files)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-write connection in one transaction. The name is that of Dagster's own resource."""
        with self.open().write() as connection:
            yield connection
