"""Telling a run that is at work from one whose process is gone.

Dagster leaves a run STARTED for hours when its machine lost power or its process was killed with all others. So each
run holds a file lock while it lives, which the kernel frees when it dies, however it dies.
"""

import fcntl
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

YOUNG = timedelta(seconds=20)  # its lock may not be there yet
_SUFFIX = ".run"
_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class RunLock:
    """The lock of one run: its path and open file."""

    path: Path
    file: int


def hold(folder: Path, run_id: str) -> RunLock:
    """Take the lock of a run until it is released or this process is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{run_id}{_SUFFIX}", folder / f"{run_id}.new"
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    draft.replace(path)  # locked from the first moment that anybody can see it
    return RunLock(path, file)


def release(lock: RunLock) -> None:
    """Let go of the lock; its run has ended."""
    lock.path.unlink(missing_ok=True)
    os.close(lock.file)


def fail_dead_runs(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Report the runs as failed that are STARTED (or CANCELING) and whose process is gone; return their ids.

    Locks of runs that have ended are removed. A run without a lock file is left alone.
    """
    dead = []
    before = datetime.now(UTC) - YOUNG
    for path in folder.glob(f"*{_SUFFIX}"):
        if _is_held(path):
            continue
        run = instance.get_run_by_id(path.stem)
        if run is None or run.is_finished:
            path.unlink(missing_ok=True)
            continue
        record = instance.get_run_record_by_id(run.run_id)
        if record is None or record.create_timestamp > before or run.status not in _AT_WORK:
            continue
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine lost power.")
        path.unlink(missing_ok=True)
        dead.append(run.run_id)
    return dead


def _is_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # its run has just ended well
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return os.fstat(file).st_nlink == 0
    finally:
        os.close(file)
