"""Marker file of a pod that is kept until its lease ends although no run is attached to it, because this machine could
not store its data and its training or finished result is already paid for.

The marker must be written even when the disk is full, so its space is reserved in advance and then overwritten.
"""

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular, regular_only, write_atomically

_FILE = "kept-until"
_BYTES = 40  # longer than any time in ISO 8601


def reserve(folder: Path) -> None:
    """Reserve the space of the marker of a kept pod in a job's folder; this alone keeps no pod. Without free space,
    `keep` tries to write it."""
    with suppress(OSError):
        write_atomically(folder / _FILE, b" " * _BYTES)


def keep(folder: Path, until_then: datetime) -> None:
    """Mark a job's pod as kept; if nothing can be written, another run may terminate the pod."""
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
    """Return the time until which a job's pod is kept; ``None`` if it is not. A time further ahead than one lease is
    ignored."""
    try:
        noted = datetime.fromisoformat(read_regular(folder / _FILE).decode().strip())
    except (OSError, ValueError):
        return None
    return noted if now < noted <= now + lease else None


def forget(folder: Path) -> None:
    """Remove the marker of a kept pod, if there is one."""
    (folder / _FILE).unlink(missing_ok=True)
