"""The seal of a database that was closed with its log folded in: a fingerprint of its file.

A writer takes the seal away before it writes, and puts a new one there once no log is left. So a log beside a database
that has one is not its own: DuckDB would replay it all the same, as neither file says which database it belongs to. A
database that does not fit its seal was changed or replaced by another program. Without a seal, after a kill or beside
a copy of the file alone, nothing can be told.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.files import sync
from bizcharts_pipeline.warehouse.blocks import fingerprint
from bizcharts_pipeline.warehouse.log import has_log

_HEX_DIGITS = 64


@dataclass(frozen=True)
class _Seal:
    """What the file was when it was closed; ``size`` in bytes."""

    fingerprint: str
    size: int


def seal_path(path: Path) -> Path:
    """The file that holds the seal of the DuckDB file ``path``."""
    return Path(f"{path}.closed")


def seal(path: Path) -> None:
    """Seal ``path`` if no log is left; the caller has the turn alone, and no connection. A disk that is full leaves it
    without a seal."""
    if has_log(path):
        return
    draft = Path(f"{seal_path(path)}.{os.getpid()}")
    with suppress(OSError), _opened(path) as descriptor:
        draft.write_text(f"{fingerprint(descriptor)} {os.fstat(descriptor).st_size}")
        sync(draft)  # or a power cut might leave an empty seal, which is named as damaged
        os.replace(draft, seal_path(path))


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
    """Whether the DuckDB file ``path``, opened as ``descriptor``, is sealed but not as it is now, or its seal is
    damaged."""
    sealed_as = _read_seal(path)
    if sealed_as is None:
        return seal_path(path).exists()
    return sealed_as != _Seal(fingerprint(descriptor), os.fstat(descriptor).st_size)


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
    if _read_seal(path) is None:
        return f"{seal_path(path)} is damaged, so nothing tells whether {path.name} is as BizCharts closed it."
    return f"{path} was changed or replaced by another program since BizCharts closed it."


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a descriptor whose closing drops all locks of this process on the file, DuckDB's too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_seal(path: Path) -> _Seal | None:
    try:
        digest, size = seal_path(path).read_text(encoding="ascii").split(" ")
        return _Seal(digest, int(size)) if len(digest) == _HEX_DIGITS else None
    except (FileNotFoundError, ValueError):
        return None  # none, or one that is damaged
