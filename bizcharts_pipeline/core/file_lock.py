"""Locks on open files; the kernel frees them when their holder dies, however it dies."""

import fcntl


def try_lock(file: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file without waiting; return whether it was free. ``operation``: LOCK_EX or LOCK_SH."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
