"""Exclusive lock per job, as two processes would both claim the same pod. The kernel releases it when its holder
dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.file_lock import lock_file
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
    with lock_file(folder / LOCK) as is_free:
        if not is_free:
            raise JobBusy(
                f"Another process works on the job {folder.name}, which must not be paid for twice; "
                "wait for its end, or stop that run"
            )
        yield
