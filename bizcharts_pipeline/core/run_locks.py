"""Lock files that distinguish an active run from one whose process has died.

A run holds the lock of a file named after it; the kernel releases the lock when the process dies. Works within one
machine only.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only

_SUFFIX = ".run"
_DRAFT_SUFFIX = ".new"
_DRAFT_SECONDS = 3_600  # a draft exists for microseconds; an older one was left by a killed process


@dataclass(frozen=True)
class RunLock:
    """The lock of one run: its path and open file."""

    path: Path
    file: int


def acquire(folder: Path, run_id: str) -> RunLock:
    """Lock a run's file until the lock is released or this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{run_id}{_SUFFIX}", folder / f"{run_id}{_DRAFT_SUFFIX}"
    file = regular_only(draft, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    draft.replace(path)  # already locked when it becomes visible
    return RunLock(path, file)


def release(lock: RunLock) -> None:
    """Release a run's lock and delete its file; the run has ended."""
    lock.path.unlink(missing_ok=True)
    os.close(lock.file)


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the lock file of a run while the block runs, so that other processes see that it is alive."""
    lock = acquire(folder, run_id)
    try:
        yield
    finally:
        release(lock)


def is_alive(folder: Path, run_id: str) -> bool:
    """Whether the run's process is alive, by its lock file."""
    try:
        file = regular_only(folder / f"{run_id}{_SUFFIX}", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def active(folder: Path) -> list[str]:
    """Return the ids of the runs whose process is alive, by their lock files."""
    return [path.stem for path in sorted(folder.glob(f"*{_SUFFIX}")) if is_alive(folder, path.stem)]


def stale(folder: Path) -> list[Path]:
    """Return the lock files of runs whose process has died; each file's stem is the run's id."""
    return [path for path in folder.glob(f"*{_SUFFIX}") if _is_stale(path)]


def remove_stale(folder: Path) -> None:
    """Remove the lock files of runs whose process has died."""
    for path in stale(folder):
        path.unlink(missing_ok=True)
    for draft in folder.glob(f"*{_DRAFT_SUFFIX}"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                draft.unlink()


def _is_stale(path: Path) -> bool:
    try:
        file = regular_only(path, os.O_RDWR)
    except FileNotFoundError:
        return False  # its run has just ended
    try:
        return try_lock(file, fcntl.LOCK_SH) and os.fstat(file).st_nlink > 0
    finally:
        os.close(file)
