"""Locks on open files, and folders with such a lock in them; the kernel releases it when the holding process dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bizcharts_pipeline.core.files import regular_only, remove_tree, sync

UNLOCKED_SECONDS = 3600.0  # a younger folder without a lock may be one that another process is creating or deleting
_LOCK = "lock"


def try_lock(file: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file without waiting; return whether it was free. ``operation``: LOCK_EX or LOCK_SH."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def lock_file(path: Path, operation: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Lock the file ``path``, created if missing, without waiting; yield whether it was free. Its folder exists.
    ``operation``: as for :func:`try_lock`."""
    file = regular_only(path, os.O_RDWR | os.O_CREAT)
    try:
        yield try_lock(file, operation)
    finally:
        os.close(file)


@contextmanager
def new_locked_folder(folder: Path) -> Iterator[None]:
    """Create ``folder``, whose name is unique, and hold the lock in it while the block runs; the block removes it."""
    making = folder.with_name(f".{folder.name}")
    making.mkdir(mode=0o700)
    lock = os.open(making / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        making.rename(folder)
        sync(folder.parent)
        yield
    except BaseException:
        remove_locked_folder(making)
        raise
    finally:
        os.close(lock)


@contextmanager
def abandoned(folder: Path) -> Iterator[bool]:
    """Yield whether the process that created the locked ``folder`` has died; holds the lock, if there is one."""
    try:
        lock = regular_only(folder / _LOCK, os.O_RDWR)
    except OSError:
        yield folder.exists() and folder.stat().st_mtime < time.time() - UNLOCKED_SECONDS
        return
    try:
        yield try_lock(lock)
    finally:
        os.close(lock)


def remove_locked_folder(folder: Path) -> None:
    """Remove ``folder``: its lock last, so that :func:`abandoned` knows at once what a kill leaves of it."""
    for path in (*(each for each in folder.glob("*") if each.name != _LOCK), folder):
        with suppress(OSError):
            remove_tree(path)
