"""One process a job: two would take the same pod for theirs. The kernel frees the lock when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only
from bizcharts_pipeline.pods.errors import PodError

LOCK = "lock"


class JobBusy(PodError):
    """Another process works on this job; the reaper holds one for as long as it ends the pods of it."""

    retry = True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the job whose local folder this is; made where it is missing.

    Raises:
        JobBusy: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = regular_only(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        if not try_lock(file):
            raise JobBusy(
                f"Another process works on the job {folder.name}, and it is never paid twice at once; "
                "wait for its end, or stop that run"
            )
        yield
    finally:
        os.close(file)
