"""Telling a run that is at work from one whose process is gone: a file that the kernel unlocks when its holder dies.

So a claim on a question ends the moment its process does, however it dies, and never before. On one machine only, as
SQLite's own log.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bizcharts_pipeline.core.files import regular_only

_DRAFT_SECONDS = 3_600  # a draft lives for microseconds; one so old is of a process that was killed meanwhile


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Show that the run is at work."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{run_id}.run", folder / f"{run_id}.new"
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        draft.replace(path)  # locked from the first moment that anybody can see it
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def is_alive(folder: Path, run_id: str) -> bool:
    """Whether the run's process lives."""
    try:
        file = regular_only(folder / f"{run_id}.run", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def remove_dead(folder: Path) -> None:
    """Remove the files of runs whose process is gone."""
    for path in folder.glob("*.run"):
        if not is_alive(folder, path.stem):
            path.unlink(missing_ok=True)
    for draft in folder.glob("*.new"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                draft.unlink()
