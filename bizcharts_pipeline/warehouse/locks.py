"""Advisory file locks of the database: shared for readers, exclusive for writers, with a turnstile.

``<database>.lock`` is held, shared by readers and exclusively by a writer, while a connection is open.
``<database>.turn`` is a turnstile: every process locks it exclusively until it has the first lock, so a writer that
waits for readers to leave blocks new readers. The kernel releases both when a process dies. Each acquisition opens the
files again, so threads of one process exclude each other as processes do. A reader without write permission can still
lock them; if they cannot be created, on a read-only file system, no process writes.
"""

import errno
import fcntl
import os
import random
import time
from pathlib import Path

from bizcharts_pipeline.core.files import regular_only

SHORTEST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.010
_MAY_NOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)


class LockTimeout(Exception):
    """The deadline passed; ``holders`` are the ids of the processes with the lock, if the kernel reports them."""

    def __init__(self, holders: list[int]) -> None:
        super().__init__(holders)
        self.holders = holders


def lock_path(database: Path) -> Path:
    """The lock file of ``database``; it exists once BizCharts has opened the database."""
    return Path(f"{database}.lock")


def acquire(database: Path, *, exclusive: bool, deadline: float) -> int | None:
    """Lock ``database`` and return the descriptor for :func:`release`; ``deadline`` is on the monotonic clock.

    Returns ``None`` if there is no lock file and a reader cannot create it.

    Raises:
        LockTimeout: the lock was not free by then.
        OSError: the lock files cannot be opened.
    """
    path = lock_path(database)
    lock = _open(path, exclusive=exclusive)
    try:
        turnstile = _open(Path(f"{database}.turn"), exclusive=exclusive)
        try:
            _take(turnstile, fcntl.LOCK_EX, deadline, path)
            _take(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, deadline, path)
        finally:
            release(turnstile)
    except BaseException:
        release(lock)
        raise
    return lock


def release(descriptor: int | None) -> None:
    """Release the lock of the database returned by :func:`acquire`."""
    if descriptor is None:
        return
    # Unlocked explicitly: a forked child that inherited the descriptor would keep the lock after our close.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _open(path: Path, *, exclusive: bool) -> int | None:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return regular_only(path, os.O_RDWR | os.O_CREAT | flags)
    except OSError as error:
        if exclusive or error.errno not in _MAY_NOT_WRITE:
            raise
    try:
        return regular_only(path, os.O_RDONLY | flags)
    except FileNotFoundError:
        return None


def _take(descriptor: int | None, operation: int, deadline: float, lock_path: Path) -> None:
    while descriptor is not None:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockTimeout(holders(lock_path)) from None
        time.sleep(random.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))


def holders(lock_path: Path) -> list[int]:
    """Return the ids of the processes that hold the database's lock file ``lock_path``; empty without
    ``/proc/locks``."""
    try:
        inode = str(lock_path.stat().st_ino)
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    # number: FLOCK ADVISORY WRITE pid device:device:inode start end; waiting ones carry '->' as second word
    return sorted({int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].split(":")[2] == inode})
