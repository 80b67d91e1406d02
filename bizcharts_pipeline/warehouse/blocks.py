"""Damage in a DuckDB file, found by its own checksums.

DuckDB checks a block when it reads it, and a query reads only the blocks that it needs; here every block of the file is
read. A block that no table uses is checked too: it holds no data, but it shows that the disk, or a kill, has done harm.
"""

from dataclasses import dataclass
from typing import BinaryIO

import duckdb
import numpy as np

from bizcharts_pipeline.warehouse.statistics import BLOCK_BYTES, blocks_in_use

HEADER_BYTES = 4096
HEADERS = 3  # the main header, and the two that checkpoints write in turn
MAX_LISTED = 5
_WORD = np.dtype("<u8")
_SEED = np.uint64(5381)
_FACTOR = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class Damage:
    """What of a DuckDB file does not have its checksum. ``end``: the file does not end with a whole block."""

    headers: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    end: bool = False

    def __bool__(self) -> bool:
        return bool(self.headers or self.blocks or self.end)

    def __str__(self) -> str:
        parts = [f"header {number}" for number in self.headers]
        parts += [f"block {number}" for number in self.blocks[:MAX_LISTED]]
        if more := self.blocks[MAX_LISTED:]:
            parts.append(f"{len(more):,} more blocks")
        return ", ".join([*parts, *(["the block at its end"] if self.end else [])])


def find_damage(file: BinaryIO) -> Damage:
    """Read a DuckDB file through, from its begin, while the caller keeps writers out.

    Raises:
        OSError: the file cannot be read.
    """
    headers = [number for number in range(HEADERS) if not _is_whole(file.read(HEADER_BYTES), HEADER_BYTES)]
    blocks, number = [], 0
    while len(block := file.read(BLOCK_BYTES)) == BLOCK_BYTES:
        if not _is_whole(block, BLOCK_BYTES):
            blocks.append(number)
        number += 1
    return Damage(tuple(headers), tuple(blocks), bool(block))


def is_unused(damage: Damage, connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether nothing of ``damage`` holds data of the database that ``connection`` reads."""
    return not damage.headers and not blocks_in_use(connection).intersection(damage.blocks)


def _is_whole(block: bytes, size: int) -> bool:
    """Whether the first eight bytes are DuckDB's checksum of the rest."""
    if len(block) != size:
        return False
    words = np.frombuffer(block, _WORD)
    return bool(np.bitwise_xor.reduce(words[1:] * _FACTOR) ^ _SEED == words[0])
