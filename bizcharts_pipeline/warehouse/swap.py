"""Several files of a home replaced together, so that a kill leaves all the old ones or all the new ones.

The new files lie ready under other names. A journal beside the database lists the renames; from the moment it is there
they will be done: whoever opens the database next goes on with them. What is replaced is kept under a name of its own.
A folder that is being replaced has a marker beside it meanwhile, for those who open files in it without the database.
"""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular, replacing_marker, sync, write_atomically


@dataclass(frozen=True)
class Move:
    """``draft`` takes the place of ``target``, which is kept as ``kept``; without a draft the target goes aside."""

    draft: Path | None
    target: Path
    kept: Path


def journal(database: Path) -> Path:
    """The file that lists the renames while they are under way."""
    return Path(f"{database}.restoring")


def swap(database: Path, moves: Sequence[Move]) -> None:
    """Make all ``moves``; the caller has the database's turn alone, and the drafts survive a power cut."""
    lines = [[str(move.draft) if move.draft else None, str(move.target), str(move.kept)] for move in moves]
    write_atomically(journal(database), json.dumps(lines).encode())
    settle(database)


def settle(database: Path) -> None:
    """Finish the renames that a kill interrupted; nothing if there are none. The caller has the turn alone.

    Raises:
        OSError: a file cannot be renamed; the journal stays.
        ValueError: the journal cannot be read.
    """
    try:
        lines = json.loads(read_regular(journal(database)))
    except FileNotFoundError:
        return
    moves = [Move(Path(draft) if draft else None, Path(target), Path(kept)) for draft, target, kept in lines]
    markers = [replacing_marker(move.target) for move in moves if _is_folder(move)]
    for marker in markers:
        marker.touch()
    for move in moves:
        _make(move)
    for folder in _folders(moves):
        with suppress(FileNotFoundError):
            sync(folder)
    for marker in markers:  # before the journal: one that is left alone would never be removed
        marker.unlink(missing_ok=True)
    journal(database).unlink()
    sync(database.parent)


def _make(move: Move) -> None:
    if move.draft is not None and not os.path.lexists(move.draft):
        return  # done before the kill
    if os.path.lexists(move.target):
        move.kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(move.target, _free(move.kept))
    if move.draft is not None:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(move.draft, move.target)


def _is_folder(move: Move) -> bool:
    return move.target.is_dir() or (move.draft is not None and move.draft.is_dir())


def _free(kept: Path) -> Path:
    """``kept``, or the first numbered name after it that is free: a file may have been made anew meanwhile."""
    name, number = kept, 1
    while os.path.lexists(name):
        number += 1
        name = kept.with_name(f"{kept.name}.{number}")
    return name


def _folders(moves: Iterable[Move]) -> set[Path]:
    return {path.parent for move in moves for path in (move.target, move.kept)}
