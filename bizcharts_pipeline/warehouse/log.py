"""The write-ahead log beside a DuckDB file: whether it is whole, and how far it can be read.

DuckDB takes a log that ends in the middle of an entry for one that a kill cut off, and silently leaves out the rest. A
flipped bit in an entry's length looks the same, so the frame of every entry is followed here. The entries' contents
have checksums, which DuckDB checks itself when it reads the log.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_HEAD = bytes.fromhex("640062650002ffff")  # an entry of the type "version", 2
_ENTRY = struct.Struct("<QQ")  # bytes, checksum
_COMMIT = bytes.fromhex("640064ffff")  # the entry that ends a transaction
_BAD_ENTRY = re.compile(r"entry at byte position (\d+)")


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

    def before(self, position: int | None) -> tuple[int, ...]:
        """Return the ends of the transactions that end at or before ``position``; ``None``: all of them."""
        return tuple(end for end in self.commits if position is None or end <= position)


def wal(path: Path) -> Path:
    """The write-ahead log of the DuckDB file ``path``."""
    return Path(f"{path}.wal")


def read_log(path: Path) -> Log | None:
    """Return what the log of the DuckDB file ``path`` holds; ``None`` if there is none, or an empty one."""
    try:
        file = wal(path).open("rb")
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


def bad_entry(message: str) -> int | None:
    """Return where the entry begins that DuckDB's ``message`` calls damaged, if it names one."""
    found = _BAD_ENTRY.search(message)
    return int(found[1]) - _ENTRY.size if found else None
