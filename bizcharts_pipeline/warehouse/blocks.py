"""Checksum verification of every block of a DuckDB file.

DuckDB checks a block when it reads it, and a query reads only the blocks that it needs; this module reads every block
of the file, including unused ones. A checksum is the exclusive or of the hashes of all eight-byte words, so it does not
detect swapped words, or an even number of equal words replaced by other equal ones.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.warehouse.checkpoints import HEADERS_BYTES
from bizcharts_pipeline.warehouse.statistics import BLOCK_BYTES

HEADER_BYTES = 4096
HEADERS = HEADERS_BYTES // HEADER_BYTES  # the main header, and two that checkpoints write alternately
MAX_LISTED = 5
_CHECKSUM_BYTES = 8  # at the beginning of each header and block
_WORD = "<u8"
_SEED, _FACTOR = 5381, 0xBF58476D1CE4E5B9


@dataclass(frozen=True)
class Damage:
    """Headers and blocks of a DuckDB file with a wrong checksum. ``end``: the file ends within a block.

    Complete blocks missing at the end are found only by reading the tables: the headers also count blocks that were
    never written.
    """

    headers: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    end: bool = False

    def __bool__(self) -> bool:
        return bool(self.headers or self.blocks or self.end)

    def __str__(self) -> str:
        parts = [f"header {number}" for number in self.headers]
        parts += [f"block {number}" for number in self.blocks[:MAX_LISTED]]
        if more := self.blocks[MAX_LISTED:]:
            parts.append(f"{counted(len(more), 'more block')}")
        return ", ".join([*parts, *(["its end"] if self.end else [])])


def find_damage(file: BinaryIO) -> Damage:
    """Check all blocks of a DuckDB file; the caller locks out writers.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(0)
    headers = [number for number in range(HEADERS) if not _is_intact(file.read(HEADER_BYTES), HEADER_BYTES)]
    blocks, number = [], 0
    while len(block := file.read(BLOCK_BYTES)) == BLOCK_BYTES:
        if not _is_intact(block, BLOCK_BYTES):
            blocks.append(number)
        number += 1
    return Damage(tuple(headers), tuple(blocks), bool(block))


def fingerprint(descriptor: int) -> str:
    """Return a hash of a DuckDB file's headers and of the checksums of all its blocks in order; about 30 ms per
    gigabyte.

    It changes whenever a block or its position changes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256(os.pread(descriptor, HEADERS_BYTES, 0))
    for place in range(HEADERS_BYTES, os.fstat(descriptor).st_size, BLOCK_BYTES):
        digest.update(os.pread(descriptor, _CHECKSUM_BYTES, place))
    return digest.hexdigest()


def _is_intact(block: bytes, size: int) -> bool:
    """Whether the first eight bytes are DuckDB's checksum of the rest."""
    if len(block) != size:
        return False
    import numpy as np

    words = np.frombuffer(block, _WORD)
    return bool(np.bitwise_xor.reduce(words[1:] * np.uint64(_FACTOR)) ^ np.uint64(_SEED) == words[0])
