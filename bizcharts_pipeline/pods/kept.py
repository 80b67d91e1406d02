"""A note that a pod is kept until its lease ends, though no run works with it: this machine could not store what it
sends, and its training or its finished result is paid for."""

from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.files import write_atomically

_FILE = "kept-until"


def keep(folder: Path, until_then: datetime) -> None:
    """Note in a job's folder that its pod is kept; where nothing can be written, another run may end the pod."""
    write_atomically(folder / _FILE, until_then.isoformat().encode())


def until(folder: Path, now: datetime, lease: timedelta) -> datetime | None:
    """Return until when the pod of a job is kept; ``None``: it is not, and a note further ahead than a lease does not
    count."""
    try:
        noted = datetime.fromisoformat((folder / _FILE).read_text())
    except (OSError, ValueError):
        return None
    return noted if now < noted <= now + lease else None


def forget(folder: Path) -> None:
    """Remove the note; none there is no error."""
    (folder / _FILE).unlink(missing_ok=True)
