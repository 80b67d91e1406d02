"""Notes beside files that must not be used: those that ``bizcharts migrate`` has set aside, because their rows were
moved elsewhere, and those that it has not filled yet.

A process that found nothing in their place might begin anew, with an empty database or an unused budget. The note lies
beside the file or folder, so it goes with a home that is copied, renamed or mounted at another path. A lake has a
record in PostgreSQL instead (:mod:`bizcharts_pipeline.core.postgres`), with the same messages.
"""

import json
import os
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular


class DatabaseMoved(BizchartsError):
    """The settings name a database that was moved to another one, or is not complete."""


def note_path(file: Path) -> Path:
    """The note that the file or folder ``file`` must not be used."""
    return Path(f"{file}.moved")


def note(target: str | None, message: str) -> bytes:
    """Return the content of a note: the database to use instead, ``None`` if there is none yet, and what to do."""
    return json.dumps({"to": target, "message": message}).encode() + b"\n"


def moved(source: str, target: str, now: datetime) -> str:
    """Return the message for the use of ``source``, which was moved to ``target`` at ``now`` (naive UTC)."""
    return (
        f"{source} was moved to {target} at {now:%Y-%m-%d %H:%M:%S} UTC. Set BIZCHARTS_DATABASE to {target}; "
        "docs/operating.md, 'Many machines', says how to use the old one."
    )


def unfinished(source: str, target: str) -> str:
    """Return the message for the use of ``target``, which a move from ``source`` has not filled yet."""
    return (
        f"{target} is not complete: a move from {source} has not ended. Set BIZCHARTS_DATABASE to {source}, and repeat "
        "`bizcharts migrate` or go on without it."
    )


def left_for(file: Path) -> str | None:
    """Return the database that the file or folder ``file`` was moved to; ``None`` if it was not, or the note cannot be
    read."""
    found = _read(file)
    return found[0] if found else None


def is_unfinished(file: Path) -> bool:
    """Whether a move has not filled the file yet."""
    found = _read(file)
    return found is not None and found[0] is None


def refusal(file: Path) -> str | None:
    """Return what to do if the database or the folder of ledgers ``file`` must not be used; ``None`` if it may."""
    path = note_path(file)
    if found := _read(file):
        return found[1]
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


def _read(file: Path) -> tuple[str | None, str] | None:
    try:
        found = json.loads(read_regular(note_path(file)))
        return found["to"] and str(found["to"]), str(found["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
