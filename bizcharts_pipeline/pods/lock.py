"""Exclusive lock per job, as two processes would both claim the same pod. The kernel releases it when its holder
dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only
from bizcharts_pipeline.pods.errors import PodError

LOCK = "lock"


class JobBusy(PodError):
    """Another process works on this job; the reaper too holds the lock while it terminates the job's pods."""

    retry = True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of the job with this local folder, which is created if missing.

    Raises:
        JobBusy: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = regular_only(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        if not try_lock(file):
            raise JobBusy(
                f"Another process works on the job {folder.name}, which must not be paid for twice; "
                "wait for its end, or stop that run"
            )
        yield
    finally:
        os.close(file)
