"""Drafts: unfinished backups and restores, each in its own folder below the home, locked while its process lives.

Leftovers of a killed process, there or at the target of its backup, are removed by the next one and by maintenance.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.backup.errors import NoSpace
from bizcharts_pipeline.core.file_lock import abandoned, new_locked_folder, remove_locked_folder
from bizcharts_pipeline.core.files import read_regular, regular_only
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import DatabaseFull
from bizcharts_pipeline.warehouse.swap import journal

FOLDER = "drafts"  # below the home
_ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Draft:
    """The folder of one unfinished backup or restore; ``name`` is unique."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def elsewhere(self, path: Path) -> Path:
        """Record that ``path``, outside the folder, belongs to this draft of a backup or restore, and return it."""
        with open(
            self.folder / _ELSEWHERE, "a", encoding="utf-8", errors="surrogateescape", opener=regular_only
        ) as file:
            file.write(f"{path.absolute()}\n")
            file.flush()
            os.fsync(file.fileno())
        return path


@contextmanager
def new_draft(home: Path, keep: Callable[[], bool] = lambda: False) -> Iterator[Draft]:
    """Yield an empty draft of a backup or restore, which is removed at the end unless ``keep`` returns true."""
    (home / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = home / FOLDER / secrets.token_hex(6)
    with new_locked_folder(folder):
        try:
            yield Draft(folder)
        finally:
            if not keep():
                _remove(folder)


@contextmanager
def no_empty_home(home: Path) -> Iterator[None]:
    """Remove ``home`` if the restore in the block creates it and fails before it puts anything into it but
    :data:`FOLDER`."""
    is_new = not home.exists()
    try:
        yield
    except BaseException:
        for empty in (home / FOLDER, home) if is_new else ():
            with suppress(OSError):
                empty.rmdir()
        raise


def remove_abandoned(home: Path, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove leftovers of killed backups and restores; return their number and bytes.

    Call it only when no restore is between its renames (:mod:`bizcharts_pipeline.warehouse.swap`).
    """
    count = size = 0
    for folder in (home / FOLDER).glob("*"):
        with abandoned(folder) as is_abandoned:
            if is_abandoned:
                count += 1
                size += sum(map(_size, [folder, *_elsewhere(folder)]))
                if not dry_run:
                    _remove(folder)
    return count, size


def clean_up(database: DatabaseFile, home: Path) -> None:
    """Finish a restore that was killed between its renames, and remove leftovers of other killed restores and backups.

    Raises:
        DatabaseError: another process held the database until the deadline, or a file cannot be renamed.
    """
    if journal(database.path).exists():
        with database.exclusive():
            pass
    remove_abandoned(home)


def _remove(folder: Path) -> None:
    for path in _elsewhere(folder):
        with suppress(OSError):
            path.unlink()
    remove_locked_folder(folder)


def _elsewhere(folder: Path) -> list[Path]:
    try:
        lines = read_regular(folder / _ELSEWHERE).decode(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    return [path for line in lines if folder.name in (path := Path(line)).name]


def _size(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    return 0


@contextmanager
def space_in(outcome: str, folder: Path, needed: int | None = None) -> Iterator[None]:
    """Run the block of a backup or restore that writes to ``folder`` so many bytes; ``outcome`` says what was not done
    if it fails.

    Raises:
        NoSpace: the disk of the folder is full.
    """
    try:
        yield
    except DatabaseFull:
        raise NoSpace(outcome, folder, needed) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(outcome, folder, needed) from None
