"""Worker processes on a database, and what they have written."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.warehouse.database import Database

WORKER = Path(__file__).with_name("database_worker.py")
Start = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def starting(name: str) -> Iterator[Start]:
    """Yield a function that starts a worker on the database ``name``; all are killed at the end."""
    workers: list[subprocess.Popen[str]] = []

    def start(mode: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(WORKER), mode, name, *map(str, arguments)]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return workers[-1]

    try:
        yield start
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def count(database: Database, what: str = "count(*)") -> int:
    with database.read() as connection:
        row = connection.execute(f"SELECT {what} FROM thread_observations").fetchone()
        assert row is not None
        return int(row[0])
