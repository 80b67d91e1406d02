"""Locks on open files; the kernel releases them when the holding process dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.files import regular_only


def try_lock(file: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file without waiting; return whether it was free. ``operation``: LOCK_EX or LOCK_SH."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def lock_file(path: Path) -> Iterator[bool]:
    """Lock the file ``path``, created if missing, without waiting; yield whether it was free. Its folder exists."""
    file = regular_only(path, os.O_RDWR | os.O_CREAT)
    try:
        yield try_lock(file)
    finally:
        os.close(file)
