"""Integrity check of a SQLite write-ahead log (WAL).

SQLite reads a log up to the first frame with a wrong checksum and silently drops all commits after it. A kill leaves
such a frame only at the end of the log, so a bad frame with further frames of the log's current run behind it, also
shifted ones, is damage.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bizcharts_pipeline.core.files import open_regular

MAX_RUNS = 1 << 20  # restarts of one log before it is truncated
_HEAD = struct.Struct(">8I")  # magic, version, page size, sequence, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit, two salts, two checksums
_SALTS = slice(8, 16)  # of a frame
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}  # byte order of what the checksums are made over


@dataclass(frozen=True)
class Fault:
    """A fault of a log. ``cut``: a kill can have caused it, and then no commit is lost. ``sound_bytes``: length of the
    intact beginning that ends with a complete commit; 0 if there is none.
    """

    text: str
    cut: bool
    sound_bytes: int = 0


@dataclass(frozen=True)
class _Frame:
    sound: bool
    current: bool  # of the log's current run; frames of older runs may follow
    foreign: bool  # belongs to no run of this log
    commits: bool


def log_path(path: Path) -> Path:
    """The write-ahead log of the SQLite file ``path``."""
    return path.with_name(f"{path.name}-wal")


def has_log(path: Path) -> bool:
    """Whether the SQLite file ``path`` has a log that is not empty."""
    try:
        return log_path(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def find_fault(path: Path) -> Fault | None:
    """Check the log of the SQLite file ``path``, which no process may write meanwhile; ``None`` if it is intact or
    missing.

    Raises:
        OSError: it cannot be read.
    """
    log = log_path(path)
    try:
        file = open_regular(log)
    except FileNotFoundError:
        return None
    with file:
        head = file.read(_HEAD.size)
        if not head:
            return None
        if len(head) < _HEAD.size:
            return Fault(f"{log} ends in its first bytes", cut=True)
        magic, _, page_bytes, _, *_, first, second = _HEAD.unpack(head)
        order = _MAGICS.get(magic)
        if order is None or (first, second) != _checksum(head[:24], order, (0, 0)):
            return Fault(f"{log} is damaged in its first bytes", cut=False)
        frames = list(_frames(file, page_bytes, order, head))
        rest = (log.stat().st_size - _HEAD.size) % (_FRAME.size + page_bytes)
        sound = next((number for number, frame in enumerate(frames) if not frame.sound), len(frames))
        file.seek(_HEAD.size + sound * (_FRAME.size + page_bytes) + _SALTS.stop)
        goes_on = head[16:24] in file.read()  # the salts of this run, in the head of a later frame
    last = max((number for number, frame in enumerate(frames) if frame.current), default=-1)
    committed = max((number + 1 for number, frame in enumerate(frames[:sound]) if frame.commits), default=0)
    sound_bytes = _HEAD.size + committed * (_FRAME.size + page_bytes) if committed else 0
    if goes_on:
        return Fault(f"{log} is damaged at frame {sound + 1}", False, sound_bytes)
    if sound == last or (sound and not frames[sound - 1].commits) or rest or any(frame.foreign for frame in frames):
        return Fault(f"{log} ends in the middle of a commit", True, sound_bytes)
    return None


def _frames(file: BinaryIO, page_bytes: int, order: str, head: bytes) -> Iterator[_Frame]:
    salts, first_salt, running = head[16:24], _HEAD.unpack(head)[4], _HEAD.unpack(head)[6:]
    sound = True
    while len(frame := file.read(_FRAME.size + page_bytes)) == _FRAME.size + page_bytes:
        _, size, salt, _, first, second = _FRAME.unpack_from(frame)
        current = frame[_SALTS] == salts
        if sound and current:
            running = _checksum(frame[:8] + frame[_FRAME.size :], order, running)
        sound = sound and current and running == (first, second)
        runs_ago = (first_salt - salt) & 0xFFFFFFFF  # each run adds one
        yield _Frame(sound, current, not current and not 0 < runs_ago < MAX_RUNS, bool(size))


def _checksum(content: bytes, order: str, running: tuple[int, ...]) -> tuple[int, int]:
    """Continue SQLite's checksum, two 32-bit sums, over ``content``."""
    first, second = running
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
