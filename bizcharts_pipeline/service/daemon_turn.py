"""Of the machines that share a database, one runs Dagster's daemon at a time; another takes over when it ends.

Two daemons would each launch every tick. The server releases the lock of a machine that is cut off within half a
minute; that machine cannot reach Dagster's records either, and stops its daemon.
"""

import sqlite3
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bizcharts_pipeline.core import postgres
from bizcharts_pipeline.core.postgres import ASK_EVERY_SECONDS

LOCK = "bizcharts daemon"


class DaemonTurn:
    """Whether the daemon of this machine may run. A context manager, which gives the turn back at its end."""

    def __init__(self, words: str, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        """Share the turn with the machines that use the database with the connection string ``words``."""
        self._lock, self._say, self._clock = postgres.KeptLock(words, LOCK), say, clock
        self._is_ours = False
        self._asked_at = -ASK_EVERY_SECONDS
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def is_ours(self) -> bool:
        """Whether the daemon may run here; asks the server every few seconds."""
        if self._clock() - self._asked_at >= ASK_EVERY_SECONDS:
            self._is_ours = self._ask()
            self._asked_at = self._clock()
        return self._is_ours

    def _ask(self) -> bool:
        try:
            is_ours = self._lock.is_ours()
        except sqlite3.Error as error:
            self._tell(f"the daemon does not run here: {error}")
            return False
        self._tell("the daemon runs here" if is_ours else "the daemon runs on another machine; this one stands by")
        return is_ours

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)
