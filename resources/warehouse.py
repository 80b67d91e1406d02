"""The warehouse as a Dagster resource."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from bizcharts_pipeline.warehouse.database import Database


class Warehouse(DuckDBResource):
    """The DuckDB file behind every table, opened for milliseconds.

    It is configured and shown as Dagster's own DuckDB resource. Its connections come from
    :class:`~bizcharts_pipeline.warehouse.database.Database`, which waits its turn fairly, has a read-only door and
    always closes.
    """

    wait_seconds: float = Field(60, description="How long to wait for a database that somebody else holds open.")

    def open(self) -> Database:
        """Return the database; nothing is opened before its ``read()`` or ``write()`` is entered."""
        path = Path(self.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        return Database(path, self.wait_seconds)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-write connection inside one transaction (the name that Dagster's own resource has)."""
        with self.open().write() as connection:
            yield connection
