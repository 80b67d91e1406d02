"""Seal of a database that was closed without a write-ahead log: a fingerprint of its file.

A writer deletes the seal before it writes, and writes a new one once no log is left. So a log next to a sealed database
belongs to another one; DuckDB would replay it, because neither file names its database. A database that does not match
its seal was changed or replaced by another program. A writer that detects this notes it in a file next to the database,
because its own seal would hide it. Without a seal (after a kill, or for a copy of the file alone) nothing can be
detected.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular, regular_only, sync, write_atomically
from bizcharts_pipeline.warehouse.blocks import fingerprint
from bizcharts_pipeline.warehouse.checkpoints import HEADERS_BYTES
from bizcharts_pipeline.warehouse.log import has_log

_HEX_DIGITS = 64


@dataclass(frozen=True)
class _Seal:
    """State of the file when it was closed; ``size`` in bytes."""

    fingerprint: str
    size: int
    headers: str | None  # hash of the headers, which any checkpoint changes; None: written by an older version


def seal_path(path: Path) -> Path:
    """The file that holds the seal of the DuckDB file ``path``."""
    return Path(f"{path}.closed")


def seal(path: Path) -> None:
    """Seal the DuckDB file ``path`` if no log is left; the caller holds the exclusive lock, and no connection is open.

    On a full disk it stays without a seal.
    """
    if has_log(path):
        return
    with suppress(OSError), _opened(path) as descriptor:
        figures = f"{fingerprint(descriptor)} {os.fstat(descriptor).st_size} {_headers(descriptor)}"
        write_atomically(seal_path(path), figures.encode())


def unseal(path: Path) -> None:
    """Delete the seal of the DuckDB file ``path`` durably: after a power cut it must not reappear next to the
    database's own log.

    Raises:
        OSError: it cannot be removed.
    """
    if seal_path(path).exists():
        seal_path(path).unlink(missing_ok=True)
        sync(path.parent)


def has_foreign_log(path: Path) -> bool:
    """Whether the DuckDB file ``path`` has a log that BizCharts did not leave there."""
    return has_log(path) and _read_seal(path) is not None


def is_changed(path: Path, descriptor: int) -> bool:
    """Whether another program has changed the DuckDB file ``path``, opened as ``descriptor``, and nobody accepted it
    since.

    That is so if it does not match its seal, if its seal is damaged, or if a writer noted either.
    """
    if note_path(path).exists():
        return True
    sealed_as = _read_seal(path)
    if sealed_as is None:
        return seal_path(path).exists()
    headers = _headers(descriptor) if sealed_as.headers else None
    return sealed_as != _Seal(fingerprint(descriptor), os.fstat(descriptor).st_size, headers)


def note_change(path: Path) -> bool:
    """Record a change of the DuckDB file ``path`` by another program since it was sealed, or a damaged seal; return
    whether there is one.

    Compares only headers and size, so the time does not depend on the file's size. The caller holds the exclusive lock,
    and no connection is open.

    Raises:
        OSError: the file cannot be read, or the note cannot be written.
    """
    sealed_as = _read_seal(path)
    if sealed_as is None and not seal_path(path).exists():
        return False
    if sealed_as is not None:
        with _opened(path) as descriptor:
            size, headers = os.fstat(descriptor).st_size, _headers(descriptor)
        if size == sealed_as.size and sealed_as.headers in (None, headers):
            return False
    write_atomically(note_path(path), f"{changed(path)}\n".encode())
    return True


def note_path(path: Path) -> Path:
    """The file that records that another program has changed the DuckDB file ``path``."""
    return Path(f"{path}.changed")


def accept(path: Path) -> None:
    """Accept the DuckDB file ``path`` as it is now; the caller holds the exclusive lock, and no connection is open.

    Raises:
        OSError: the old seal cannot be removed.
    """
    note_path(path).unlink(missing_ok=True)
    unseal(path)
    seal(path)


def is_truncated(path: Path) -> bool:
    """Whether the DuckDB file ``path`` is shorter than when it was sealed.

    DuckDB notices that only when it reads a missing part, and may have written by then.
    """
    try:
        sealed_as = _read_seal(path)
        return sealed_as is not None and path.stat().st_size < sealed_as.size
    except OSError:
        return False


def changed(path: Path) -> str:
    """Return the message for a database file that differs from its seal: its hash when it was last closed."""
    with suppress(OSError):
        return read_regular(note_path(path)).decode(errors="replace").strip()
    if _read_seal(path) is None:
        return f"{seal_path(path)} is damaged, so {path.name} cannot be checked for changes since BizCharts closed it."
    return f"{path} was changed or replaced by another program since BizCharts closed it."


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a descriptor; closing it drops all locks of this process on the file, DuckDB's included."""
    descriptor = regular_only(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _headers(descriptor: int) -> str:
    return hashlib.sha256(os.pread(descriptor, HEADERS_BYTES, 0)).hexdigest()


def _read_seal(path: Path) -> _Seal | None:
    try:
        digest, size, *headers = read_regular(seal_path(path)).decode("ascii").split(" ")
        if any(len(each) != _HEX_DIGITS for each in (digest, *headers)):
            return None
        return _Seal(digest, int(size), headers[0] if headers else None)
    except (FileNotFoundError, ValueError):
        return None  # missing or damaged
