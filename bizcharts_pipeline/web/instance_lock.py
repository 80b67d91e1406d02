"""One labeller, one server: two would offer the same posts, and each take back what was labelled at the other."""

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
    """Take the labeller's place meanwhile; the kernel gives it back when the process dies.

    It yields what takes the server's port, for whoever comes second.

    Raises:
        AlreadyLabelling: the place is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"labeller-{hashlib.sha256(labeller.encode('utf-8', 'replace')).hexdigest()[:16]}.lock"
    with os.fdopen(regular_only(folder / name, os.O_RDWR | os.O_CREAT), "r+") as file:
        if not try_lock(file.fileno()):
            raise AlreadyLabelling(
                f"{labeller} is labelling already, on port {file.read(5) or 'unknown'}: use the address that was "
                "printed there, end that labeller, or give another name with --labeller."
            )
        file.truncate(0)

        def tell(port: int) -> None:
            file.write(str(port))
            file.flush()

        yield tell
