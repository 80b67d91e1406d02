"""Locks on open files; the kernel releases them when the holding process dies."""

import fcntl


def try_lock(file: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file without waiting; return whether it was free. ``operation``: LOCK_EX or LOCK_SH."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
