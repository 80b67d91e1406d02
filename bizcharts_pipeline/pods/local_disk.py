"""Tells that this machine cannot store what a pod sends from everything else that can go wrong with files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.pods.errors import LocalDiskError

CANNOT_STORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})


@contextmanager
def storing(into: Path) -> Iterator[None]:
    """Name a full disk or quota, a read-only file system, or a forbidden folder; other errors pass as they are.

    Raises:
        LocalDiskError: instead of such an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_STORE:
            raise
        raise LocalDiskError(f"{into} cannot hold what the pod sends: {error.strerror}") from None
