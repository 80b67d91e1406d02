"""The write-ahead log beside a DuckDB file: whether it is whole, and how far it can be read.

DuckDB takes a log that ends in the middle of an entry for one that a kill cut off, and silently leaves out the rest. A
flipped bit in an entry's length looks the same, so the frame of every entry is followed here. The entries' contents
have checksums, which DuckDB checks itself when it reads the log.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.files import open_regular

_HEAD = bytes.fromhex("640062650002ffff")  # an entry of the type "version", 2
_ENTRY = struct.Struct("<QQ")  # bytes, checksum
_COMMIT = bytes.fromhex("640064ffff")  # the entry that ends a transaction


@dataclass(frozen=True)
class Log:
    """What a log holds as far as its entries follow one another. Positions and sizes are in bytes."""

    bytes: int
    commits: tuple[int, ...]  # where each transaction ends
    head: bool = True  # it begins as a log does

    @property
    def whole(self) -> bool:
        """Whether it ends with a transaction."""
        return self.head and self.bytes == (self.commits[-1] if self.commits else len(_HEAD))

    @property
    def rest(self) -> int:
        """How many bytes after the last whole transaction belong to none."""
        return self.bytes - (self.commits[-1] if self.commits else 0)


def wal(path: Path) -> Path:
    """The write-ahead log of the DuckDB file ``path``."""
    return Path(f"{path}.wal")


def has_log(path: Path) -> bool:
    """Whether the DuckDB file ``path`` has a log that is not empty."""
    try:
        return wal(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def read_log(path: Path) -> Log | None:
    """Return what the log of the DuckDB file ``path`` holds; ``None`` if there is none, or an empty one."""
    try:
        file = open_regular(wal(path))
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, 2)
        file.seek(0)
        if not size:
            return None
        begin = file.read(len(_HEAD))
        if begin != _HEAD[: len(begin)]:
            return Log(size, (), head=False)
        commits = []
        while len(entry := file.read(_ENTRY.size)) == _ENTRY.size:
            length, _ = _ENTRY.unpack(entry)
            if file.tell() + length > size:
                break
            if length == len(_COMMIT) and file.read(length) == _COMMIT:
                commits.append(file.tell())
            elif length != len(_COMMIT):
                file.seek(length, 1)
        return Log(size, tuple(commits))


def cut_log(path: Path, log: Log) -> str:
    """Say of a log that does not end with a whole transaction what becomes of it."""
    return (
        f"{wal(path)}: {log.rest:,} of {log.bytes:,} bytes at its end form no whole transaction, as a kill leaves it, "
        "or damage; they do not count."
    )
