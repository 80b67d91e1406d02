"""Atomic replacement of several files of a home, with a journal.

The new files are prepared under other names. A journal next to the database lists the renames; once it exists, they
will be completed: the next process to open the database continues them. Replaced files are kept under new names. A
folder that is replaced, and that of ledgers that are, has a marker next to it from before the journal until the end,
for processes that open files in it without the database.
"""

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.files import free_name, read_regular, replacing_marker, sync, write_atomically
from bizcharts_pipeline.core.sqlite_seal import FOLDER as LEDGERS


@dataclass(frozen=True)
class Move:
    """Renames ``draft`` to ``target``, and the old ``target`` to ``kept``; without a draft, only the latter."""

    draft: Path | None
    target: Path
    kept: Path


def journal(database: Path) -> Path:
    """The file that lists the renames in progress of the database and its files."""
    return Path(f"{database}.restoring")


def swap(database: Path, moves: Sequence[Move]) -> None:
    """Make all ``moves`` that replace the database; the caller holds the exclusive database lock and has flushed the
    drafts to disk.

    Raises:
        OSError: a file cannot be renamed; once there is a :func:`journal`, the rest follows later.
        ValueError: as :func:`settle`.
    """
    for move in moves:
        _check(move)
    lines = [[str(move.draft) if move.draft else None, str(move.target), str(move.kept)] for move in moves]
    _mark(database, moves)
    write_atomically(journal(database), json.dumps(lines).encode())
    settle(database)


def settle(database: Path) -> None:
    """Finish the renames of an interrupted :func:`swap`, if any; the caller holds the exclusive database lock.

    Raises:
        OSError: a file cannot be renamed; the journal stays.
        ValueError: the journal cannot be read.
    """
    try:
        lines = json.loads(read_regular(journal(database)))
    except FileNotFoundError:
        return
    moves = [Move(Path(draft) if draft else None, Path(target), Path(kept)) for draft, target, kept in lines]
    markers = _mark(database, moves)
    for move in moves:
        _make(move)
    for folder in _folders(moves):
        with suppress(FileNotFoundError):
            sync(folder)
    for marker in markers:  # before the journal: without it, a marker would never be removed
        marker.unlink(missing_ok=True)
    journal(database).unlink()
    sync(database.parent)


def _mark(database: Path, moves: Iterable[Move]) -> set[Path]:
    """Write the markers of the folders that ``moves`` replace, and of ledgers' if they replace ledgers; return them."""
    folders = {move.target for move in moves if _is_folder(move)}
    folders |= {move.target.parent for move in moves if move.target.parent.name == LEDGERS}
    markers = {replacing_marker(folder) for folder in folders}
    for marker in markers:
        write_atomically(marker, os.fsencode(os.path.relpath(journal(database), marker.parent)))
    return markers


def _make(move: Move) -> None:
    if move.draft is not None and not os.path.lexists(move.draft):
        return  # done before the kill
    if os.path.lexists(move.target):
        move.kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(move.target, free_name(move.kept))  # the file may have been created again
    if move.draft is not None:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(move.draft, move.target)


def _check(move: Move) -> None:
    """Check that the renames are possible before the first is made.

    Raises:
        OSError: they are not on one disk, as where a folder is the mount point of another one.
    """
    places = [os.lstat(file) for file in (move.draft, move.target) if file is not None and os.path.lexists(file)]
    if any(place.st_dev != _existing(folder).stat().st_dev for place in places for folder in (move.target, move.kept)):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(move.target))


def _existing(path: Path) -> Path:
    """Return the nearest folder above ``path`` that exists."""
    return next(folder for folder in path.parents if folder.is_dir())


def _is_folder(move: Move) -> bool:
    return move.target.is_dir() or (move.draft is not None and move.draft.is_dir())


def _folders(moves: Iterable[Move]) -> set[Path]:
    return {path.parent for move in moves for path in (move.target, move.kept)}
