"""Tells that this machine cannot store what a pod sends from everything else that can go wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.pods.errors import LocalDiskError


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
