"""Locks in PostgreSQL that tell an active run from one whose machine has died; see :mod:`.run_locks` for one machine.

A run holds the lock of its name on a connection of its own. The server releases it when the process dies and, within
half a minute, when its machine does or is cut off. If the server restarts, a thread of the run takes the lock again.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from bizcharts_pipeline.core.postgres import KeptLock, Lock

ASK_EVERY_SECONDS = 5.0


@contextmanager
def alive(words: str, run_id: str) -> Iterator[None]:
    """Hold the lock of a run while the block runs, in the database with the connection string ``words``.

    Raises:
        sqlite3.OperationalError: the server does not answer, or refuses the connection.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(ASK_EVERY_SECONDS):
            with suppress(sqlite3.Error):  # it restarts: ask again
                lock.is_ours()

    with closing(KeptLock(words, _name(run_id))) as lock:
        lock.is_ours()
        thread = threading.Thread(target=keep, name="run lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def is_alive(words: str, run_id: str) -> bool:
    """Whether a run holds its lock, on whichever machine.

    Raises:
        sqlite3.OperationalError: the server does not answer, or the connection was lost.
    """
    with closing(Lock(words, _name(run_id), seconds=0)) as lock:
        return lock.is_taken()


def _name(run_id: str) -> str:
    return f"dagster run {run_id}"
