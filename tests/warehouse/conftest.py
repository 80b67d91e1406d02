from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.catalogue import extension_file
from bizcharts_pipeline.warehouse.lake import NO_INLINING


@pytest.fixture(scope="session", params=["DuckDB", pytest.param("DuckLake", marks=pytest.mark.slow)])
def schema(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database with the schema, for tests that roll back what they do; then one to a lake.

    The lake's catalogue is a DuckDB file: what statements DuckLake runs does not depend on where its catalogue is.
    """
    with closing(duckdb.connect()) as connection:
        if request.param == "DuckLake":
            folder = tmp_path_factory.mktemp("lake")
            connection.execute(f"LOAD '{extension_file('ducklake')}'")
            connection.execute(NO_INLINING)
            connection.execute(f"ATTACH 'ducklake:{folder}/catalogue' AS lake (DATA_PATH '{folder}/files/')")
            connection.execute("USE lake")
        migrations.apply(connection, migrations.known_migrations(), utc_now(), keys=request.param == "DuckDB")
        yield connection


@pytest.fixture
def connection(schema: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    schema.begin()
    yield schema
    schema.rollback()
