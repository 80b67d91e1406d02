"""Counts the processes that were killed while they worked on an item, so that no item stops its successors for good.

Whoever works through what waits (polls, pages, images, batches) opens an attempt before an item is
read. It is on disk first, so that a kill counts: one for want of memory ends a process before it can say anything.
After two such ends the item is set aside: it is skipped, named in the log and by ``bizcharts health``, and what is
known of it is kept. An attempt that ends otherwise, with success or an error, counts for nothing.

One file an item under ``HOME/attempts``, a line an attempt. Deleting it lets the item be tried again.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import sync

MAX_ATTEMPTS = 2
FOLDER = "attempts"
_SUFFIX = ".txt"
_NAME = re.compile(r"[^A-Za-z0-9.-]+")
_log = logging.getLogger(__name__)


class SetAside(BizchartsError):
    """An item is not tried again, as processes were killed over it."""


@dataclass(frozen=True)
class Attempts:
    """The attempts of one installation; ``folder`` is made on first use."""

    folder: Path

    @classmethod
    def of_home(cls, home: Path) -> "Attempts":
        """Return those of the installation in ``home``."""
        return cls(home / FOLDER)

    @contextmanager
    def attempt(self, item: str) -> Iterator[None]:
        """Work on ``item`` in the block; what counts is written down before it begins. While another process works on
        the item, nothing is counted.

        Raises:
            SetAside: as many processes as allowed were killed over it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(item)
        with path.open("a+b") as file:
            if not try_lock(file.fileno()):
                yield
                return
            file.seek(0)
            begun = file.read(64 * 1024).count(b"\n")
            if begun >= MAX_ATTEMPTS:
                _log.error("%s", message := _message(item, begun, path))
                raise SetAside(message)
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {item}\n".encode())
            file.flush()
            os.fsync(file.fileno())
            if not begun:
                sync(self.folder)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def forget(self, item: str) -> None:
        """Let ``item`` be tried again; none such is no error."""
        self._path(item).unlink(missing_ok=True)

    def set_aside(self) -> list[str]:
        """Return of each item that is set aside what it is and how to have it tried again."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            except FileNotFoundError:
                continue
            if len(lines) >= MAX_ATTEMPTS:
                found.append(_message(lines[-1].partition(": ")[2], len(lines), path))
        return found

    def _path(self, item: str) -> Path:
        readable = _NAME.sub("-", item)[:80].strip("-.")
        return self.folder / f"{readable}-{hashlib.sha256(item.encode()).hexdigest()[:16]}{_SUFFIX}"


def _message(item: str, begun: int, path: Path) -> str:
    return (
        f"{item}: set aside, as {begun} processes were killed while they read it (out of memory?); "
        f"to try it again, delete {path}"
    )
