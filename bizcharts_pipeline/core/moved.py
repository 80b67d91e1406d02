"""Notes beside files that must not be used: those that ``bizcharts migrate`` has set aside, because their rows were
moved elsewhere, and those that it has not filled yet.

A process that found nothing in their place might begin anew, with an empty database or an unused budget. The note lies
beside the file or folder, so it goes with a home that is copied, renamed or mounted at another path. A lake has a
record in PostgreSQL instead (:mod:`bizcharts_pipeline.core.postgres`), with the same messages.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular, write_atomically


class DatabaseMoved(BizchartsError):
    """The settings name a database that was moved to another one, or is not complete."""


@dataclass(frozen=True)
class Note:
    """That a database must not be used; ``target`` is the one to use instead, ``None`` if this one is not filled yet,
    and ``message`` says what to do."""

    target: str | None
    message: str

    @property
    def is_unfinished(self) -> bool:
        """Whether a move has begun to fill the database, and has not ended."""
        return self.target is None


def note_path(file: Path) -> Path:
    """The note that the file or folder ``file`` must not be used."""
    return Path(f"{file}.moved")


def write_note(file: Path, note: Note) -> None:
    """Write the note that the file or folder ``file`` must not be used.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(note_path(file), content(note))


def content(note: Note) -> bytes:
    """Return the content of a note."""
    return json.dumps({"to": note.target, "message": note.message}).encode() + b"\n"


def read_note(file: Path) -> Note | None:
    """Return the note that the file or folder ``file`` must not be used; ``None`` if there is none, or it cannot be
    read."""
    try:
        found = json.loads(read_regular(note_path(file)))
        return Note(found["to"] and str(found["to"]), str(found["message"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def moved(source: str, target: str, now: datetime, only_in: str = "") -> Note:
    """Return the note for ``source``, which was moved to ``target`` at ``now`` (naive UTC); if ``target`` is a file,
    ``only_in`` names the home that has moved it, and has the ledgers."""
    where = f" in {only_in}, which alone uses it now" if only_in else ""
    return Note(
        target,
        f"{source} was moved to {target} at {now:%Y-%m-%d %H:%M:%S} UTC. Set BIZCHARTS_DATABASE to {target}{where}; "
        "docs/operating.md, 'Many machines', says how to use the old one.",
    )


def unfinished(source: str, target: str, mover: str) -> Note:
    """Return the note for ``target``, which a move from ``source`` by the home ``mover`` has not filled yet."""
    return Note(
        None,
        f"{target} is not complete: a move from {source} has not ended. Set BIZCHARTS_DATABASE to {source} in {mover}, "
        "and repeat `bizcharts migrate` or go on without it.",
    )


def refusal(file: Path) -> str | None:
    """Return what to do if the database or the folder of ledgers ``file`` must not be used; ``None`` if it may."""
    path = note_path(file)
    if note := read_note(file):
        return note.message
    if not os.path.exists(path):  # nor if another user's home hides it
        return None
    return (
        f"{path} cannot be read: it names the database that {file} was moved to. If BIZCHARTS_DATABASE names the one "
        "that is used now, delete it."
    )


def refuse_moved(file: Path) -> None:
    """Check that the database or the folder of ledgers ``file`` was not moved, and is complete.

    Raises:
        DatabaseMoved: it was, or is not.
    """
    if message := refusal(file):
        raise DatabaseMoved(message)
