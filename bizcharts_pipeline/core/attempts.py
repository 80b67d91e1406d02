"""Crash counter for work items: an item that kills its process twice is skipped, so that it cannot block the others.

Whoever processes a queue (polls, pages, images, batches) opens an attempt before reading an item. The attempt is on
disk first, because a process killed for lack of memory can no longer report anything. After two kills the item is set
aside: it is skipped, and named in the log and by ``bizcharts health``; the data stored about it stays. Attempts that
end with success or an error do not count, nor do kills while the attempt is paused to wait for something else, such as
the database.

One file per item under ``HOME/attempts``, one line per attempt. Deleting the file lets the item be tried again.
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
    """The item is skipped, because processes were killed while they worked on it."""


class Attempt:
    """One attempt in progress; ``file`` is ``None`` while another process counts attempts at the same item."""

    def __init__(self, item: str, file: BinaryIO | None) -> None:
        self._item, self._file = item, file
        self._earlier = file.seek(0, os.SEEK_END) if file else 0
        self.paused = True

    def pause(self) -> None:
        """Stop counting kills of processes: while this one waits for something else, the item cannot be the cause."""
        if self._file is not None:
            self._file.truncate(self._earlier)
        self.paused = True

    def resume(self) -> None:
        """Count kills of processes again; the record is on disk when this returns."""
        self.paused = False
        if self._file is not None:
            self._file.write(
                f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {self._item}\n".encode()
            )
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def waiting_for(self, lock: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Enter ``lock()``, which may wait, and yield its value; kills of processes count again once it is entered."""
        self.pause()
        with lock() as entered:
            self.resume()
            yield entered


@dataclass(frozen=True)
class Attempts:
    """Attempt files of one installation; ``folder`` is created on first use."""

    folder: Path

    @classmethod
    def of_home(cls, home: Path) -> "Attempts":
        """Return the counted attempts of the installation in ``home``."""
        return cls(home / FOLDER)

    @contextmanager
    def attempt(self, item: str) -> Iterator[Attempt]:
        """Count an attempt at ``item``, whose process may be killed, for the duration of the block; it is recorded
        before the block begins.

        While another process works on the item, nothing is counted. The attempt that is yielded can be paused; an
        attempt that ends while paused leaves the earlier count as it was.

        Raises:
            SetAside: :data:`MAX_ATTEMPTS` processes were killed while they worked on the item.
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
        """Let ``item`` be tried again by forgetting its counted attempts; does nothing if it has none."""
        self._path(item).unlink(missing_ok=True)

    def set_aside(self) -> list[str]:
        """Return one message per item that is set aside after its counted attempts: its name and how to have it tried
        again.
        """
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
        f"{item}: set aside, because {begun} processes were killed while reading it (out of memory?); "
        f"to try it again, delete {path}"
    )
