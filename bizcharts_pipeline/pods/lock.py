"""Exclusive lock per job, as two processes would both claim the same pod. The kernel releases it when its holder
dies."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bizcharts_pipeline.core.ledgers import exclusive
from bizcharts_pipeline.pods.errors import PodError, PodLedgerError

LOCK = "lock"


class JobBusy(PodError):
    """Another process works on this job; the reaper too holds the lock while it terminates the job's pods."""

    retry = True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of a job on rented GPUs with this local folder, which is created if missing.

    Raises:
        JobBusy: another process holds it.
        PodLedgerError: the server that holds the locks does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            is_free = held.enter_context(exclusive(folder / LOCK))
        except sqlite3.Error as error:
            raise PodLedgerError(f"The job {folder.name} cannot be locked: {error}") from None
        if not is_free:
            raise JobBusy(
                f"Another process works on the job {folder.name}, which must not be paid for twice; "
                "wait for its end, or stop that run"
            )
        yield
