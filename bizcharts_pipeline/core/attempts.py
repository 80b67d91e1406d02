"""Counts the processes that were killed while they worked on an item, so that no item stops its successors for good.

Whoever works through what waits (polls, pages, images, batches) opens an attempt before an item is
read. It is on disk first, so that a kill counts: one for want of memory ends a process before it can say anything.
After two such ends the item is set aside: it is skipped, named in the log and by ``bizcharts health``, and what is
known of it is kept. An attempt that ends otherwise, with success or an error, counts for nothing, nor does a kill while
the attempt is paused to wait for something else, as for the database.

One file an item under ``HOME/attempts``, a line an attempt. Deleting it lets the item be tried again.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import read_regular, regular_only, sync

MAX_ATTEMPTS = 2
FOLDER = "attempts"
_SUFFIX = ".txt"
_NAME = re.compile(r"[^A-Za-z0-9.-]+")
_log = logging.getLogger(__name__)
T = TypeVar("T")


class SetAside(BizchartsError):
    """An item is not tried again, as processes were killed over it."""


class Attempt:
    """One attempt in progress; ``file`` is ``None`` while another process counts."""

    def __init__(self, item: str, file: BinaryIO | None) -> None:
        self._item, self._file = item, file
        self._earlier = file.seek(0, os.SEEK_END) if file else 0
        self.paused = True

    def pause(self) -> None:
        """Do not count a kill from now on: the process waits, and the item cannot be the cause."""
        if self._file is not None:
            self._file.truncate(self._earlier)
        self.paused = True

    def resume(self) -> None:
        """Count a kill from now on; this is on disk when it returns."""
        self.paused = False
        if self._file is not None:
            self._file.write(
                f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {self._item}\n".encode()
            )
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def waiting_for(self, turn: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Enter ``turn()``, a wait, and yield its value; a kill counts again once it is entered."""
        self.pause()
        with turn() as entered:
            self.resume()
            yield entered


@dataclass(frozen=True)
class Attempts:
    """The attempts of one installation; ``folder`` is made on first use."""

    folder: Path

    @classmethod
    def of_home(cls, home: Path) -> "Attempts":
        """Return those of the installation in ``home``."""
        return cls(home / FOLDER)

    @contextmanager
    def attempt(self, item: str) -> Iterator[Attempt]:
        """Work on ``item`` in the block; what counts is written down before it begins. While another process works on
        the item, nothing is counted. What it yields can be paused; an attempt that ends while it is keeps what earlier
        ones have counted.

        Raises:
            SetAside: as many processes as allowed were killed over it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(item)
        with open(path, "a+b", opener=regular_only) as file:
            if not try_lock(file.fileno()):
                yield Attempt(item, None)
                return
            file.seek(0)
            begun = file.read(64 * 1024).count(b"\n")
            if begun >= MAX_ATTEMPTS:
                _log.error("%s", message := _message(item, begun, path))
                raise SetAside(message)
            attempt = Attempt(item, file)
            attempt.resume()
            if not begun:
                sync(self.folder)
            try:
                yield attempt
            finally:
                if not (attempt.paused and begun):
                    path.unlink(missing_ok=True)

    def forget(self, item: str) -> None:
        """Let ``item`` be tried again; none such is no error."""
        self._path(item).unlink(missing_ok=True)

    def set_aside(self) -> list[str]:
        """Return of each item that is set aside what it is and how to have it tried again."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                lines = read_regular(path).decode(errors="replace").splitlines()
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
