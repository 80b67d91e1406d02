"""The seal of a database that was closed with its log folded in: a fingerprint of its file.

A writer takes the seal away before it writes, and puts a new one there once no log is left. So a log beside a database
that has one is not its own: DuckDB would replay it all the same, as neither file says which database it belongs to. A
database that does not fit its seal was changed or replaced by another program. A writer that finds that notes it in a
file beside the database, as its own seal would hide it. Without a seal, after a kill or beside a copy of the file
alone, nothing can be told.
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
    """What the file was when it was closed; ``size`` in bytes."""

    fingerprint: str
    size: int
    headers: str | None  # hash of the headers, which any checkpoint changes; None: of an older version


def seal_path(path: Path) -> Path:
    """The file that holds the seal of the DuckDB file ``path``."""
    return Path(f"{path}.closed")


def seal(path: Path) -> None:
    """Seal ``path`` if no log is left; the caller has the turn alone, and no connection. A disk that is full leaves it
    without a seal."""
    if has_log(path):
        return
    with suppress(OSError), _opened(path) as descriptor:
        figures = f"{fingerprint(descriptor)} {os.fstat(descriptor).st_size} {_headers(descriptor)}"
        write_atomically(seal_path(path), figures.encode())


def unseal(path: Path) -> None:
    """Take the seal away, surviving a power cut: it must not come back beside a log that is the database's own.

    Raises:
        OSError: it cannot be removed.
    """
    if seal_path(path).exists():
        seal_path(path).unlink(missing_ok=True)
        sync(path.parent)


def has_foreign_log(path: Path) -> bool:
    """Whether there is a log beside ``path`` that BizCharts did not leave there."""
    return has_log(path) and _read_seal(path) is not None


def is_changed(path: Path, descriptor: int) -> bool:
    """Whether another program has changed the DuckDB file ``path``, opened as ``descriptor``: it is sealed but not as
    it is now, its seal is damaged, or a writer has found it so, and nobody has accepted it since."""
    if note_path(path).exists():
        return True
    sealed_as = _read_seal(path)
    if sealed_as is None:
        return seal_path(path).exists()
    now = (fingerprint(descriptor), os.fstat(descriptor).st_size)
    return (sealed_as.fingerprint, sealed_as.size) != now


def note_change(path: Path) -> bool:
    """Note it if another program has changed ``path`` since it was sealed, or the seal is damaged; return whether that
    is so. It costs the same for any size: only headers and size are compared. The caller has the turn alone, and no
    connection.

    Raises:
        OSError: it cannot be read, or the note not be written.
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
    """The file that says that another program has changed the DuckDB file ``path``."""
    return Path(f"{path}.changed")


def accept(path: Path) -> None:
    """Take ``path`` as it is; the caller has the turn alone, and no connection.

    Raises:
        OSError: the old seal cannot be removed.
    """
    note_path(path).unlink(missing_ok=True)
    unseal(path)
    seal(path)


def is_cut_short(path: Path) -> bool:
    """Whether the DuckDB file ``path`` is sealed and shorter than it was then. DuckDB notices that only when it reads a
    part that is not there, and may have written by then."""
    try:
        sealed_as = _read_seal(path)
        return sealed_as is not None and path.stat().st_size < sealed_as.size
    except OSError:
        return False


def changed(path: Path) -> str:
    """Say of a database that it does not fit its seal."""
    with suppress(OSError):
        return read_regular(note_path(path)).decode(errors="replace").strip()
    if _read_seal(path) is None:
        return f"{seal_path(path)} is damaged, so nothing tells whether {path.name} is as BizCharts closed it."
    return f"{path} was changed or replaced by another program since BizCharts closed it."


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a descriptor whose closing drops all locks of this process on the file, DuckDB's too."""
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
        return None  # none, or one that is damaged
