"""Notes beside files that ``bizcharts migrate`` has set aside, because their rows were moved elsewhere.

A process that found nothing in their place might begin anew, with an empty database or an unused budget. The note lies
beside the file or folder, so it goes with a home that is copied, renamed or mounted at another path.
"""

import json
import os
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular


class DatabaseMoved(BizchartsError):
    """The settings name a database that was moved to another one."""


def note_path(file: Path) -> Path:
    """The note that the file or folder ``file`` was moved."""
    return Path(f"{file}.moved")


def note(target: str, now: datetime) -> bytes:
    """Return the content of the note of a move to the database ``target`` at ``now`` (naive UTC)."""
    return json.dumps({"to": target, "at": now.isoformat(timespec="seconds")}).encode() + b"\n"


def left_for(file: Path) -> str | None:
    """Return the database that the file or folder ``file`` was moved to; ``None`` if it was not, or the note cannot be
    read."""
    move = _read(file)
    return move[0] if move else None


def refusal(file: Path) -> str | None:
    """Return what to do if the database or the folder of ledgers ``file`` was moved; ``None`` if it was not."""
    path = note_path(file)
    if move := _read(file):
        return moved(str(file), *move)
    if not os.path.exists(path):  # nor if another user's home hides it
        return None
    return (
        f"{path} cannot be read: it names the database that {file} was moved to. If BIZCHARTS_DATABASE names the one "
        "that is used now, delete it."
    )


def moved(source: str, target: str, at: str) -> str:
    """Return the message for the use of ``source``, which was moved to ``target`` at a time (ISO 8601, UTC)."""
    return (
        f"{source} was moved to {target} at {at} UTC. Set BIZCHARTS_DATABASE to {target}; docs/operating.md, 'Many "
        "machines', says how to use the old one."
    )


def refuse_moved(file: Path) -> None:
    """Check that the database or the folder of ledgers ``file`` was not moved.

    Raises:
        DatabaseMoved: it was.
    """
    if message := refusal(file):
        raise DatabaseMoved(message)


def _read(file: Path) -> tuple[str, str] | None:
    try:
        move = json.loads(read_regular(note_path(file)))
        return str(move["to"]), str(move["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
