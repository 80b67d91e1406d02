from collections.abc import Iterator

import duckdb
import pytest

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse import migrations


@pytest.fixture(scope="session")
def schema() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a database in memory with the schema, for tests that roll back what they do."""
    with duckdb.connect() as connection:
        migrations.apply(connection, migrations.known_migrations(), utc_now())
        yield connection


@pytest.fixture
def connection(schema: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    schema.begin()
    yield schema
    schema.rollback()
