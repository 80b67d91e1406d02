"""Handling of Ctrl-C and SIGTERM while DuckDB runs a statement, and transactions that no signal leaves open."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

_INTERRUPTED = "Query interrupted"


@contextmanager
def passed_on(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Re-raise an exception that a signal handler raised during a DuckDB statement, for example ``KeyboardInterrupt``.

    DuckDB replaces that exception by a ``RuntimeError``, which callers would take for a failure, and leaves the
    statement running: a rollback would wait for its end. So the statement is interrupted first.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != _INTERRUPTED or error.__cause__ is None:
            raise
        with suppress(duckdb.Error):  # the connection is closed already
            connection.interrupt()
        raise error.__cause__ from None


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run a transaction of the database: committed at the end, rolled back on any exception, which is raised again."""
    connection.begin()
    try:
        with passed_on(connection):
            yield
            connection.commit()
    except BaseException:
        with suppress(duckdb.Error):  # an error that ended the transaction has rolled it back
            connection.rollback()
        raise
