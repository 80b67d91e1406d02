"""Tells that this machine cannot store what a pod sends from everything else that can go wrong."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.sqlite import is_full
from bizcharts_pipeline.pods.errors import LocalDiskError

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
# A library that keeps the run's log in a database of its own may hand on nothing but the words.
_WORDS = re.compile(r"disk is full|disk I/O error|readonly database|No space left on device|Disk quota exceeded")


def is_of_disk(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that this machine's disk is full, over quota, read-only or
    broken."""
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
    """Name whatever goes wrong with files of this machine: a full disk or quota, a read-only or forbidden folder, a
    broken disk, a path that is too long, too many open files. Trouble of the pod or of the link has its own errors.

    Raises:
        LocalDiskError: instead of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise LocalDiskError(f"{into} cannot hold what the pod sends: {error.strerror or error}") from None
