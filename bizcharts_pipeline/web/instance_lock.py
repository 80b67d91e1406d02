"""Instance lock: one server per labeller.

Two servers would offer the same posts, and each would undo labels made with the other.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only


class AlreadyLabelling(BizchartsError):
    """Another process serves the same labeller."""


@contextmanager
def labeller_lock(folder: Path, labeller: str) -> Iterator[Callable[[int], None]]:
    """Hold the lock of the labelling page's server for a labeller; the kernel releases it when the process dies.

    Yields a function that records the server's port, for the message to a second process.

    Raises:
        AlreadyLabelling: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"labeller-{hashlib.sha256(labeller.encode('utf-8', 'replace')).hexdigest()[:16]}.lock"
    with os.fdopen(regular_only(folder / name, os.O_RDWR | os.O_CREAT), "r+") as file:
        if not try_lock(file.fileno()):
            raise AlreadyLabelling(
                f"{labeller} is already labelling, on port {file.read(5) or 'unknown'}: use the address that was "
                "printed there, stop that process, or give another name with --labeller."
            )
        file.truncate(0)

        def record_port(port: int) -> None:
            file.write(str(port))
            file.flush()

        yield record_port
