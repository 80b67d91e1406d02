"""Crash-safe checkpoints of a DuckDB file.

DuckDB's checkpoint overwrites metadata blocks in place while the file's current header still points at them. A process
killed during such a write leaves a block with a wrong checksum, and the whole database cannot be opened again (seen
with 1.5.5). So the blocks at risk are first saved to a separate file. If the header is unchanged afterwards, the
checkpoint was not completed: the saved blocks are restored, and as the write-ahead log still exists, nothing is lost.
"""

import fcntl
import hashlib
import os
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.files import open_regular, read_regular, regular_only, sync

HEADERS_BYTES = 3 * 4096  # the main header and the two database headers, of which a checkpoint overwrites one
_OFFSET = struct.Struct("<Q")


class FileHeld(Exception):
    """Another program has the DuckDB file open."""


@dataclass(frozen=True)
class _Saved:
    """The headers and the blocks at risk, by their offset, before a checkpoint; an empty block is the file's end."""

    headers: bytes
    blocks: dict[int, bytes]

    def to_bytes(self) -> bytes:
        parts = [_OFFSET.pack(len(self.blocks)), self.headers]
        for offset, block in self.blocks.items():
            parts += [_OFFSET.pack(offset), _OFFSET.pack(len(block)), block]
        content = b"".join(parts)
        return hashlib.sha256(content).digest() + content

    @classmethod
    def from_bytes(cls, content: bytes) -> "_Saved | None":
        """Parse the saved blocks of a DuckDB file from the output of :meth:`to_bytes`; ``None`` if it is damaged."""
        digest, content = content[:32], content[32:]
        if hashlib.sha256(content).digest() != digest:
            return None
        (count,) = _OFFSET.unpack_from(content)
        position = _OFFSET.size + HEADERS_BYTES
        blocks = {}
        for _ in range(count):
            offset, length = struct.unpack_from("<QQ", content, position)
            position += 2 * _OFFSET.size
            blocks[offset] = content[position : position + length]
            position += length
        return cls(content[_OFFSET.size : _OFFSET.size + HEADERS_BYTES], blocks)


def saved_blocks(path: Path) -> Path:
    """The file with the saved blocks of the DuckDB file ``path`` while a checkpoint is in progress."""
    return Path(f"{path}.checkpoint")


def checkpoint(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Checkpoint the DuckDB file ``path`` and close ``connection``, its only one; the caller holds the exclusive
    database lock.

    If the disk is too full for it, the write-ahead log stays, and with it every commit.
    """
    # A closed descriptor drops all locks of the process on its file, DuckDB's too: closed after the connection.
    descriptor = regular_only(path, os.O_RDONLY)
    done = False
    try:
        with closing(connection), suppress(duckdb.Error, OSError):
            _save(saved_blocks(path), _blocks_at_risk(connection, descriptor).to_bytes())
            connection.execute("CHECKPOINT")
            done = True
    finally:
        os.close(descriptor)
    with suppress(OSError, FileHeld):  # commits are in the log; the next process to open the file repairs it
        if done:
            saved_blocks(path).unlink()
        else:
            settle(path)


def cut(path: Path, size: int) -> None:
    """Remove what was appended to the DuckDB file ``path`` since it had ``size`` bytes, of which nothing was committed;
    the caller holds the exclusive lock, and no connection is open.

    A large transaction appends its rows before it commits; on a full disk, a block of them may be incomplete.
    """
    with suppress(OSError):
        if path.stat().st_size > size:
            os.truncate(path, size)


def settle(path: Path) -> None:
    """Undo an incomplete checkpoint of the DuckDB file ``path``; the caller holds the exclusive lock, and no connection
    of ours is open.

    Raises:
        FileHeld: a shell has the file open, and may be writing into it; the file is unchanged, to be repaired later.
        OSError: the file cannot be written; it is unchanged, to be repaired later.
    """
    kept = saved_blocks(path)
    try:
        content = read_regular(kept)
    except FileNotFoundError:
        return
    saved = _Saved.from_bytes(content)
    if saved and path.exists():
        with open(path, "r+b", opener=regular_only) as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # DuckDB's own lock
            except (BlockingIOError, PermissionError):
                raise FileHeld from None
            if file.read(HEADERS_BYTES) == saved.headers:
                for offset, block in saved.blocks.items():
                    file.seek(offset)
                    file.write(block)
                    if not block:  # what the checkpoint appended; on a full disk, a block of it may be incomplete
                        file.truncate(offset)
                file.flush()
                os.fsync(file.fileno())
    kept.unlink()


def is_held(path: Path) -> bool:
    """Whether another program is writing the DuckDB file ``path``; this process must not have a connection to it."""
    with open_regular(path) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # DuckDB's own lock
        except (BlockingIOError, PermissionError):
            return True
    return False


def _save(path: Path, content: bytes) -> None:
    """Write ``content`` durably; a partial write after a kill is detected by its digest."""
    with open(path, "wb", opener=regular_only) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def _blocks_at_risk(connection: duckdb.DuckDBPyConnection, descriptor: int) -> _Saved:
    """Return the metadata blocks with free space: the next checkpoint writes into them, and appends others."""
    size = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()
    assert size
    ids = connection.execute("SELECT block_id FROM pragma_metadata_info() WHERE free_blocks > 0").fetchall()
    offsets = [HEADERS_BYTES + block_id * size[0] for (block_id,) in ids]
    blocks = {offset: block for offset in offsets if (block := os.pread(descriptor, size[0], offset))}
    return _Saved(os.pread(descriptor, HEADERS_BYTES, 0), blocks | {os.fstat(descriptor).st_size: b""})
