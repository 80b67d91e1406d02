"""A note that a pod is kept until its lease ends, though no run is attached to it: this machine could not store what it
sends, and its training or its finished result is paid for.

The note has to be written when the disk is full. So its room is taken before that, and the note goes over it.
"""

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular, regular_only, write_atomically

_FILE = "kept-until"
_BYTES = 40  # longer than any time in ISO 8601


def reserve(folder: Path) -> None:
    """Take the room of the note in a job's folder; no pod is kept by that. Where there is none left, `keep` tries."""
    with suppress(OSError):
        write_atomically(folder / _FILE, b" " * _BYTES)


def keep(folder: Path, until_then: datetime) -> None:
    """Note in a job's folder that its pod is kept; where nothing can be written, another run may end the pod."""
    note = until_then.isoformat().encode().ljust(_BYTES)
    try:
        file = regular_only(folder / _FILE, os.O_WRONLY)
    except FileNotFoundError:
        write_atomically(folder / _FILE, note)
        return
    try:
        os.pwrite(file, note, 0)
        os.fsync(file)
    finally:
        os.close(file)


def until(folder: Path, now: datetime, lease: timedelta) -> datetime | None:
    """Return until when the pod of a job is kept; ``None``: it is not, and a note further ahead than a lease does not
    count."""
    try:
        noted = datetime.fromisoformat(read_regular(folder / _FILE).decode().strip())
    except (OSError, ValueError):
        return None
    return noted if now < noted <= now + lease else None


def forget(folder: Path) -> None:
    """Remove the note; none there is no error."""
    (folder / _FILE).unlink(missing_ok=True)
