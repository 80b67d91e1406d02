"""Quarantine for unreadable data: a size-limited folder that keeps each file with the reason."""

import gzip
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.files import write_atomically

MAX_FILES = 200
MAX_BYTES = 64 * 1024 * 1024
REASON_SUFFIX = ".reason.txt"


def quarantine(folder: Path, name: str, body: bytes, reason: str) -> Path:
    """Write the ``body`` of a bad response compressed into ``folder`` under ``name``, and ``reason`` next to it; return
    its path.
    """
    path = folder / f"{name}.gz"
    write_atomically(path, gzip.compress(body, mtime=0))
    write_reason(path, reason)
    keep_newest(folder)
    return path


def write_reason(path: Path, reason: str) -> Path:
    """Write the reason why the response in ``path`` was quarantined to a note next to it; return the note's path."""
    note = path.with_name(f"{path.name}{REASON_SUFFIX}")
    note.write_text(f"{reason[:10_000]}\n", encoding="utf-8", errors="replace")
    return note


def keep_newest(folder: Path) -> None:
    """Remove the oldest files (``*.gz``) of a quarantine and their notes beyond ``MAX_FILES`` or ``MAX_BYTES``."""
    found = []
    for path in folder.glob("*.gz"):
        if path.is_dir():  # found in a file's place; kept for whoever put it there
            continue
        with suppress(FileNotFoundError):  # another process removed it
            status = path.stat()
            found.append((status.st_mtime_ns, path, status.st_size))
    kept_bytes = 0
    for count, (_, path, size) in enumerate(sorted(found, reverse=True), start=1):
        kept_bytes += size
        if count > MAX_FILES or kept_bytes > MAX_BYTES:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}{REASON_SUFFIX}").unlink(missing_ok=True)
