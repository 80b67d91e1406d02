"""Store of the vectors that encoders have computed, so that no text is encoded twice.

A new champion with the same encoder scores the stored posts again without encoding them. A file of vectors is a cache:
it may be deleted at any time and is in no backup. Where it cannot be used, texts are encoded as without it.
"""

import fcntl
import hashlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.file_lock import lock_file
from bizcharts_pipeline.sentiment.encoder import BertEncoder, Single

FOLDER = "vectors"  # of a home
FILE, SET_ASIDE, LOCK = "vectors.sqlite", "vectors.damaged", "lock"
MAX_TEXTS = 1_000_000  # with 384 dimensions about 1.7 GB; beyond that, the oldest are deleted
PER_WRITE = 1_000  # texts encoded between two writes
BUSY_SECONDS = 5.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, crc32 INTEGER)"

Vectors = dict[bytes, Single]
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Store(Protocol):
    """Keeps vectors by key: 16 bytes that identify encoder and text."""

    def read(self, keys: Collection[bytes]) -> Vectors:
        """Return the kept vectors of texts with these keys."""
        ...

    def add(self, vectors: Mapping[bytes, Single]) -> None:
        """Keep the text encoder's vectors."""
        ...


class MemoryStore:
    """Keeps vectors for as long as the process runs."""

    def __init__(self) -> None:
        """Begin without vectors."""
        self._vectors: Vectors = {}

    def read(self, keys: Collection[bytes]) -> Vectors:
        """Return the kept vectors of texts with these keys."""
        return {key: self._vectors[key] for key in keys if key in self._vectors}

    def add(self, vectors: Mapping[bytes, Single]) -> None:
        """Keep the text encoder's vectors in memory."""
        self._vectors.update(vectors)


class FileStore:
    """Keeps vectors in a SQLite file that several processes may use.

    Each vector has a checksum. A damaged file is moved aside, where it replaces an earlier one, and a new one begun.
    """

    def __init__(self, folder: Path, max_texts: int = MAX_TEXTS) -> None:
        """Use the file in ``folder``, which is created when the first vector is looked up."""
        self._folder, self._max_texts = folder, max_texts

    @classmethod
    def of_home(cls, home: Path) -> "FileStore":
        """Return an installation's store of the text encoder's vectors."""
        return cls(home / FOLDER)

    def read(self, keys: Collection[bytes]) -> Vectors:
        """Return the kept vectors of texts with these keys; none if the file cannot be used now."""

        def select(connection: sqlite3.Connection) -> Vectors:
            query = "SELECT vector, crc32 FROM vectors WHERE key = ?"
            rows = ((key, connection.execute(query, (key,)).fetchone()) for key in keys)
            return {key: _checked(key, *row) for key, row in rows if row}

        return self._use(select) or {}

    def add(self, vectors: Mapping[bytes, Single]) -> None:
        """Keep the text encoder's vectors, if the file can be used now."""

        def insert(connection: sqlite3.Connection) -> None:
            stored = ((key, np.asarray(vector, "<f4").tobytes()) for key, vector in vectors.items())
            rows = ((key, content, zlib.crc32(key + content)) for key, content in stored)
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            oldest = "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?"
            connection.execute(oldest, (self._max_texts,))

        self._use(insert)

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the result of ``work``, one transaction; ``None`` if the file cannot be used now."""
        path = self._folder / FILE
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with lock_file(self._folder / LOCK, fcntl.LOCK_SH) as is_free:
                if not is_free:  # it is being moved aside
                    return None
                with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection, connection:
                    connection.execute("PRAGMA page_size = 8192")  # five vectors of 384 dimensions with little waste
                    connection.execute(_SCHEMA)
                    return work(connection)
        except (_Damaged, sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite quotes a damaged schema
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                _log.warning("%s cannot be used now (%s); texts are encoded again.", path, error)
            else:
                self._set_aside(error)
        except OSError as error:
            _log.warning("%s cannot be used (%s); texts are encoded again.", path, reason_of(error))
        return None

    def _set_aside(self, error: Exception) -> None:
        path = self._folder / FILE
        with suppress(OSError), lock_file(self._folder / LOCK, fcntl.LOCK_EX) as is_free:
            if not is_free:  # another process uses it, and will find the damage too
                return
            os.replace(path, self._folder / SET_ASIDE)
            path.with_name(f"{FILE}-journal").unlink(missing_ok=True)
            _log.warning("%s is damaged (%s); it was moved to %s, and texts are encoded again.", path, error, SET_ASIDE)


class KeepingEncoder:
    """An encoder that looks a text up before it encodes it."""

    def __init__(self, encoder: BertEncoder, store: Store) -> None:
        """Keep the vectors of ``encoder`` in ``store``."""
        self._encoder, self._store = encoder, store

    def encode(self, texts: Sequence[str]) -> Single:
        """Return one vector per text, from the store or the text encoder: (texts, dimensions)."""
        keys = [hashlib.sha256(self._encoder.digest + text.encode()).digest()[:16] for text in texts]
        vectors = self._store.read(set(keys))
        new = [(key, text) for key, text in dict(zip(keys, texts, strict=True)).items() if key not in vectors]
        for start in range(0, len(new), PER_WRITE):
            some = new[start : start + PER_WRITE]
            made = dict(zip((key for key, _ in some), self._encoder.encode([text for _, text in some]), strict=True))
            self._store.add(made)
            vectors |= made
        return np.array([vectors[key] for key in keys], np.float32).reshape(len(keys), self._encoder.dimensions)

    def save(self, folder: Path) -> None:
        """Write the text encoder; the vectors stay in the store."""
        self._encoder.save(folder)


class _Damaged(Exception):
    """A vector is not as it was stored."""


def _checked(key: bytes, content: object, checksum: object) -> Single:
    if not isinstance(content, bytes) or zlib.crc32(key + content) != checksum:
        raise _Damaged("a checksum is wrong")
    return np.frombuffer(content, "<f4")
