"""Integrity check of a DuckDB write-ahead log (WAL).

DuckDB takes a log that ends within an entry for one cut off by a kill, and silently drops the rest. A flipped bit in an
entry's length looks the same to it, so this module follows the frames of all entries: the rest that a killed process
leaves has no commit, as that is written last. The entries' contents have checksums, which DuckDB checks itself when it
replays the log.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bizcharts_pipeline.core.files import open_regular

_HEAD = bytes.fromhex("640062650002ffff")  # an entry of the type "version", 2
_ENTRY = struct.Struct("<QQ")  # bytes, checksum
_COMMIT = bytes.fromhex("640064ffff")  # the entry that ends a transaction
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Log:
    """Structure of a log up to the last readable entry. Positions and sizes are in bytes."""

    bytes: int
    commits: tuple[int, ...]  # end of each transaction
    head: bool = True  # whether it begins with a valid header
    damaged: bool = False  # whether a commit follows the last readable entry

    @property
    def complete(self) -> bool:
        """Whether the database file's log ends with a complete transaction."""
        return self.head and self.bytes == (self.commits[-1] if self.commits else len(_HEAD))

    @property
    def rest(self) -> int:
        """How many bytes of the database file's log follow the last complete transaction."""
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
    """Return the structure of the log of the DuckDB file ``path``; ``None`` if the log is missing or empty."""
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
        return Log(size, tuple(commits), damaged=_has_commit(file, commits[-1] if commits else 0))


def cut_log(path: Path, log: Log) -> str:
    """Return the message for a log of a DuckDB file that does not end with a complete transaction."""
    what = "are damaged" if log.damaged else "are an incomplete transaction of a killed process"
    cut = "" if log.damaged else " If none was killed, the file was cut, and newer entries are missing too."
    return f"{wal(path)}: the last {log.rest:,} of {log.bytes:,} bytes {what}; they are ignored.{cut}"


def _has_commit(file: BinaryIO, begin: int) -> bool:
    file.seek(begin)
    before = b""
    while chunk := file.read(_CHUNK):
        if _COMMIT in before + chunk:
            return True
        before = chunk[1 - len(_COMMIT) :]
    return False
