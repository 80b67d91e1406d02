"""Seals of SQLite files: the SHA-256 of a ledger as its last user left it.

SQLite has no checksums, so a flipped bit in a label's text would never be noticed. Whoever closes a ledger as the last
one writes its hash beside it; whoever opens it as the first one compares, and takes the seal away, as the file will
change. After a kill there is no seal, and nothing to compare with. A seal that does not fit stays, and is named each
time, until `bizcharts repair` has dealt with it. A ledger that is gone or empty although its seal or its lock file
says that there was one is not begun anew.
"""

import fcntl
import hashlib
import logging
import os
import re
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import (
    open_regular,
    read_regular,
    regular_only,
    replacing_marker,
    sync,
    write_atomically,
)
from bizcharts_pipeline.core.sqlite_log import find_fault, has_log, log_path

PAUSE_SECONDS = 0.01
SQLITE_OPEN_BYTE = 128  # WAL_SHM_DMS in SQLite's os_unix.c
_SHA256 = re.compile(rb"([0-9a-f]{64})\n")
_logger = logging.getLogger(__name__)


class Use:
    """One use of a ledger, from before it is opened until after it is closed; a lock file counts the users."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock: int | None = lock

    def end(self) -> None:
        """Seal the ledger if this was its last user. Call it once the connection is closed; twice does no harm."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with suppress(OSError):  # somebody else has it open, the disk is full, or the folder is gone
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not seal_path(self._path).exists() and not has_log(self._path):
                    write_seal(self._path)
                _mark_made(lock, self._path)
        finally:
            release(lock)

    def __del__(self) -> None:
        if self._lock is not None:
            release(self._lock)


def begin(path: Path, wait_seconds: float) -> Use:
    """Announce a use of the ledger ``path``, whose folder must exist; the first user looks at its seal and its log.

    Raises:
        sqlite3.DatabaseError: it is lost, or its log is damaged: opening it would forget what was committed.
        sqlite3.OperationalError: somebody has it for himself for longer than ``wait_seconds``, or the lock file cannot
            be opened.
    """
    refuse_pipes(path)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            lock = open_lock(path)
        except OSError as error:
            raise sqlite3.OperationalError(f"unable to open its lock file: {error.strerror}") from None
        try:
            if try_lock(lock, fcntl.LOCK_EX):
                _look_at(path)
                _mark_made(lock, path)
                fcntl.flock(lock, fcntl.LOCK_SH)
            else:
                while not try_lock(lock, fcntl.LOCK_SH):
                    if time.monotonic() > deadline:
                        raise sqlite3.OperationalError("database is locked")
                    time.sleep(PAUSE_SECONDS)
        except BaseException:
            release(lock)
            raise
        if _is_current(lock, path):
            return Use(path, lock)
        release(lock)  # a restore has replaced the folder meanwhile


def refuse_pipes(path: Path) -> None:
    """Refuse a named pipe in place of a file that SQLite opens for the ledger ``path``: it would wait for ever.

    Raises:
        sqlite3.OperationalError: names it.
    """
    for suffix in ("", "-journal", "-wal", "-shm"):
        if (file := path.with_name(f"{path.name}{suffix}")).is_fifo():
            raise sqlite3.OperationalError(f"{file} is a named pipe; remove it")


def wait_for_restore(path: Path, wait_seconds: float) -> None:
    """Wait until no restore is replacing the folder of the ledger ``path``.

    Raises:
        sqlite3.OperationalError: one does so for longer than ``wait_seconds``, or was killed.
    """
    deadline = time.monotonic() + wait_seconds
    while replacing_marker(path.parent).exists():
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("a restore was interrupted; `bizcharts repair` finishes it")
        time.sleep(PAUSE_SECONDS)


def seal_path(path: Path) -> Path:
    """The file that holds the hash of the ledger ``path``."""
    return path.with_name(f"{path.name}.seal")


def write_seal(path: Path) -> None:
    """Seal the ledger ``path``, which nobody has open.

    Raises:
        OSError: it cannot be read, or the seal not be written.
    """
    write_atomically(seal_path(path), _digest(path) + b"\n")


def is_lost(path: Path) -> bool:
    """Whether there was a ledger ``path``, and it is gone or empty: SQLite would begin a new one without a word."""
    if path.exists() and (not path.is_file() or path.stat().st_size):
        return False
    with suppress(OSError):
        return seal_path(path).exists() or _lock_path(path).stat().st_size > 0
    return False


def lost(path: Path) -> str:
    """Say of a ledger that it is lost."""
    return (
        f"{path} is gone or empty, though there was one. `bizcharts restore FILE --only ledgers` puts a backup in its "
        "place, `bizcharts repair --accept` begins a new one."
    )


def forget(path: Path) -> None:
    """Let a new ledger ``path`` be begun where one was lost; nobody may have it open."""
    seal_path(path).unlink(missing_ok=True)
    _lock_path(path).unlink(missing_ok=True)


def is_broken(path: Path) -> bool:
    """Whether the ledger ``path``, which nobody has open, is not what it was sealed as, or its seal is damaged."""
    try:
        seal = read_regular(seal_path(path))
    except FileNotFoundError:
        return False
    found = _SHA256.fullmatch(seal)
    return path.exists() and (found is None or found[1] != _digest(path))


def is_foreign_log(path: Path) -> bool:
    """Whether there is a log beside the ledger ``path``, which nobody has open, though it was closed without one.
    SQLite would replay it all the same, as a log does not say of which file it is."""
    return has_log(path) and seal_path(path).exists() and not is_broken(path) and not _is_open_elsewhere(path)


def _is_open_elsewhere(path: Path) -> bool:
    """Whether another program has the SQLite file ``path`` open, so that the log is its own: it then holds a lock on
    this byte of the log's index."""
    try:
        with open(path.with_name(f"{path.name}-shm"), "r+b", opener=regular_only) as index:
            fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, SQLITE_OPEN_BYTE)
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        pass
    return False


def foreign(path: Path) -> str:
    """Say of a ledger that there is a log which is not its own."""
    return f"{log_path(path)} belongs to another file or program: BizCharts closed {path.name} without a log;"


def open_lock(path: Path) -> int:
    """Open the lock file of the ledger ``path``; who holds it alone knows that nobody has the ledger open.

    Raises:
        OSError: it cannot be opened.
    """
    return regular_only(_lock_path(path), os.O_RDWR | os.O_CREAT)


def release(lock: int) -> None:
    """Let go of what :func:`open_lock` opened."""
    # Unlocked explicitly: a forked child that inherited the descriptor would keep the lock after our close.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _is_current(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), _lock_path(path).stat())
    except FileNotFoundError:
        return False


def _mark_made(lock: int, path: Path) -> None:
    """Note in the lock file that there is a ledger ``path``, which is known after a kill too, without a seal."""
    with suppress(OSError):  # a full disk; the next use notes it
        if path.stat().st_size and not os.fstat(lock).st_size:
            os.pwrite(lock, b"made\n", 0)


def _look_at(path: Path) -> None:
    """Check what the last user left behind, while nobody has the ledger open, and take its seal away."""
    if is_lost(path):
        raise sqlite3.DatabaseError(lost(path))
    if is_foreign_log(path):
        raise sqlite3.DatabaseError(f"{foreign(path)} `bizcharts repair --set-aside` puts it aside")
    if fault := find_fault(path):
        if not fault.cut:
            raise sqlite3.DatabaseError(f"{fault.text}; `bizcharts repair` says what can be kept")
        _logger.warning("%s, as a kill leaves it, or damage; what it was to add does not count.", fault.text)
    if is_broken(path):
        _logger.warning("%s", broken(path))
        return
    if seal_path(path).exists():
        seal_path(path).unlink(missing_ok=True)
        sync(path.parent)  # or a power cut might bring it back beside a file that has changed


def broken(path: Path) -> str:
    """Say of a ledger that its seal does not fit."""
    with suppress(FileNotFoundError):
        if not _SHA256.fullmatch(read_regular(seal_path(path))):
            return (
                f"{seal_path(path)} is damaged, so nothing tells whether {path.name} is as BizCharts left it; "
                "`bizcharts repair` says what to do."
            )
    return (
        f"{path} is not as BizCharts left it: it is damaged, or another program has changed it; `bizcharts repair` "
        "says what to do."
    )


def _digest(path: Path) -> bytes:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()
