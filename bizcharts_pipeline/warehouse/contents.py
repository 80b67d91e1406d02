"""Row counts and digests of all tables, for comparing two copies of a database."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from bizcharts_pipeline.warehouse.statistics import table_names


@dataclass(frozen=True)
class Contents:
    """Number of rows of a table, and a digest of all its values that does not depend on the order of rows.

    Digests are comparable within one version of DuckDB.
    """

    rows: int
    digest: str


def read_contents(connection: duckdb.DuckDBPyConnection) -> dict[str, Contents]:
    """Return the number of rows and the digest of every table of the database, by name.

    Every row is read, so DuckDB verifies the checksum of every block.

    Raises:
        duckdb.Error: a table cannot be read.
    """
    return {table: _contents(connection, table) for table in table_names(connection)}


def unreadable(connection: duckdb.DuckDBPyConnection) -> Mapping[str, str | None]:
    """Return, for each table of the database, the reason why it cannot be read, or ``None`` if it can."""
    found: dict[str, str | None] = {}
    for table in table_names(connection):
        try:
            _contents(connection, table)
            found[table] = None
        except duckdb.Error as error:
            found[table] = str(error)
    return found


def _contents(connection: duckdb.DuckDBPyConnection, table: str) -> Contents:
    row = connection.execute(f'SELECT count(*), bit_xor(hash(t)), sum(hash(t)) FROM "{table}" AS t').fetchone()
    assert row
    rows, exclusive, total = row
    return Contents(int(rows), f"{int(exclusive or 0):016x}-{int(total or 0):x}")
