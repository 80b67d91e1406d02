"""Distinguishes failures of this machine's disk from all other failures."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.sqlite import is_full
from bizcharts_pipeline.pods.errors import LocalDiskError

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
# A library with its own database for the run's log may pass on only the message text.
_WORDS = re.compile(r"disk is full|disk I/O error|readonly database|No space left on device|Disk quota exceeded")


def is_of_disk(error: BaseException) -> bool:
    """Return whether an error of a pod's run, or one of its causes, is a full, over-quota, read-only or broken disk of
    this machine."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _NUMBERS:
            return True
        if isinstance(seen, sqlite3.Error) and is_full(seen):
            return True
        if _WORDS.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@contextmanager
def storing(into: Path) -> Iterator[None]:
    """Convert any failure with local files (a full disk or quota, a read-only or forbidden folder, a broken disk, a
    path that is too long, too many open files). Failures of the pod and the connection have their own errors.

    Raises:
        LocalDiskError: instead of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise LocalDiskError(f"{into} cannot store the pod's files: {error.strerror or error}") from None
