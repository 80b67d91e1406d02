"""Ctrl-C and SIGTERM during a statement of the database."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pytest

from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

ENDLESS = "SELECT count(*) FROM range(100_000_000_000) AS r(i) WHERE sin(i) > 2"


class Stopped(BaseException):
    """What a signal handler raises, as Dagster's does."""


@pytest.fixture
def _handler() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def run_until_signal(
    opened: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]], begun: threading.Event
) -> None:
    """Run an endless statement, and send a signal soon after ``begun``."""

    def send() -> None:
        begun.wait()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with opened() as connection:
            connection.execute("CREATE TEMP TABLE begun (i INTEGER)")
            begun.set()
            connection.execute(ENDLESS)
    finally:
        sender.join()


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_handler")
@pytest.mark.parametrize("name", ["read", "write"])
def test_a_signal_while_the_database_is_opened_is_not_taken_for_a_failure(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = DatabaseFile(tmp_path / "a.duckdb", 5)
    database.migrate()
    opening = threading.Event()

    def slow(connection: duckdb.DuckDBPyConnection, known: object) -> list[migrations.Migration]:
        opening.set()
        connection.execute(ENDLESS)
        return []

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "pending", slow)
        with pytest.raises(Stopped):
            run_until_signal(getattr(database, name), opening)
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM catalog_snapshots").fetchall() == [(0,)]


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_handler")
@pytest.mark.parametrize("name", ["read", "write"])
def test_a_signal_during_a_statement_ends_it_and_is_not_taken_for_a_failure(tmp_path: Path, name: str) -> None:
    database = DatabaseFile(tmp_path / "a.duckdb", 5)
    database.migrate()
    with pytest.raises(Stopped):
        run_until_signal(getattr(database, name), threading.Event())
    with database.write() as connection:  # nothing holds the file, and the transaction was rolled back
        assert connection.execute("SELECT count(*) FROM catalog_snapshots").fetchall() == [(0,)]
