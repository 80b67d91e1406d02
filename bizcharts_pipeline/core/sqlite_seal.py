"""Seals of SQLite files: a file with the SHA-256 of a closed ledger.

SQLite has no checksums, so a flipped bit in a label's text would go unnoticed. The last process to close a ledger
writes its hash to the seal; the next one to open it compares and deletes the seal, because the file will change. After
a kill there is no seal, so nothing is compared. A seal that does not match stays, and is reported each time, until
`bizcharts repair` resolves it. A missing or empty ledger that has existed is not created again: its seal and its lock
file show that, and an empty file of its name in ``known-ledgers`` of the home, which remains when the other two are
deleted with the ledger.
"""

import fcntl
import hashlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from bizcharts_pipeline.core import moved
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import (
    is_being_replaced,
    open_regular,
    read_regular,
    regular_only,
    sync,
    write_atomically,
)
from bizcharts_pipeline.core.sqlite_log import Fault, find_fault, has_log, log_path

SQLITE_FILES = ("", "-journal", "-wal", "-shm")  # suffixes of the files that SQLite opens
SEAL = ".seal"  # suffix of the seal
FOLDER = "ledgers"  # of a home
KNOWN = "known-ledgers"  # beside it; one empty file for each ledger that has existed
PAUSE_SECONDS = 0.01
SQLITE_OPEN_BYTE = 128  # WAL_SHM_DMS in SQLite's os_unix.c
_SHA256 = re.compile(rb"([0-9a-f]{64})\n")
_logger = logging.getLogger(__name__)
_warned: set[tuple[str, int]] = set()  # texts, with the time of change in ns of the file that each is about


class Use:
    """One use of a ledger, from before it is opened until after it is closed; a shared file lock counts the users."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock: int | None = lock

    def end(self) -> None:
        """Seal the ledger if this was its last use. Call it after closing the connection; repeated calls do nothing."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with suppress(OSError):  # another process has it open, the disk is full, or the folder is missing
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
    """Register a use of the ledger ``path``, whose folder must exist; the first user checks its log, each one its seal.

    Raises:
        sqlite3.DatabaseError: the ledger is lost or was moved, or its log is damaged: opening it would drop commits.
        sqlite3.OperationalError: another process holds it exclusively for longer than ``wait_seconds``, or the lock
            file cannot be opened.
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
                _check_unused(path)
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
        if not path.exists() and (message := moved.refusal(path.parent)):  # written while this waited
            release(lock)
            raise sqlite3.DatabaseError(message)
        if _is_current(lock, path) and not is_being_replaced(path.parent):
            use = Use(path, lock)  # releases the lock if it is dropped
            _unseal(path)
            return use
        release(lock)  # a restore or a move has replaced the folder meanwhile, or was killed while it did
        wait_for_restore(path, deadline - time.monotonic())


def refuse_pipes(path: Path) -> None:
    """Refuse named pipes in place of the files that SQLite opens for the ledger ``path``: opening one would block for
    ever.

    Raises:
        sqlite3.OperationalError: one of them is a named pipe; names it.
    """
    for suffix in SQLITE_FILES:
        if (file := path.with_name(f"{path.name}{suffix}")).is_fifo():
            raise sqlite3.OperationalError(f"{file} is a named pipe; remove it")


def wait_for_restore(path: Path, wait_seconds: float) -> None:
    """Wait until no restore or move is replacing the folder of the ledger ``path``, or files in it.

    Raises:
        sqlite3.OperationalError: one takes longer than ``wait_seconds``, or was killed.
    """
    deadline = time.monotonic() + wait_seconds
    while is_being_replaced(path.parent):
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError(
                "a restore or a move was interrupted; `bizcharts repair`, or the move repeated, finishes it"
            )
        time.sleep(PAUSE_SECONDS)


def seal_path(path: Path) -> Path:
    """The file that holds the hash of the ledger ``path``."""
    return path.with_name(f"{path.name}{SEAL}")


def write_seal(path: Path) -> None:
    """Seal the ledger ``path``, which no process has open.

    Raises:
        OSError: the ledger cannot be read, or the seal cannot be written.
    """
    write_atomically(seal_path(path), _digest(path) + b"\n")


def is_lost(path: Path) -> bool:
    """Whether the ledger ``path`` existed and is now missing or empty; SQLite would silently create a new one."""
    if path.exists() and (not path.is_file() or path.stat().st_size):
        return False
    known = _known_path(path)
    with suppress(OSError):
        if seal_path(path).exists() or (known is not None and known.exists()):
            return True
        return _lock_path(path).stat().st_size > 0
    return False


def ledger_paths(home: Path) -> list[Path]:
    """Return the ledgers of ``home`` by name, including lost ones."""
    folder = home / FOLDER
    paths = set(folder.glob("*.sqlite"))
    for suffix in (".lock", SEAL):
        paths |= {mark.with_suffix("") for mark in folder.glob(f"*.sqlite{suffix}")}
    paths |= {folder / mark.name for mark in (home / KNOWN).glob("*.sqlite")}
    return sorted(path for path in paths if path.exists() or is_lost(path))


def lost(path: Path) -> str:
    """Return the message for a lost ledger."""
    return moved.refusal(path.parent) or (
        f"{path} is missing or empty, although it existed. `bizcharts restore FILE --only ledgers` restores a backup, "
        "`bizcharts repair --accept` begins a new one."
    )


def forget(path: Path) -> None:
    """Allow a new ledger ``path`` in place of a lost one; no process may have it open."""
    seal_path(path).unlink(missing_ok=True)
    _lock_path(path).unlink(missing_ok=True)
    if known := _known_path(path):
        known.unlink(missing_ok=True)


def kept_before_move(folder: Path, now: datetime) -> Path:
    """The folder in which a move at ``now`` (naive UTC) keeps the ledgers of ``folder`` that it replaces or sets aside:
    on the same disk."""
    return folder / f"before-move-{now:%Y%m%dT%H%M%S}"


def set_aside_names(path: Path, now: datetime) -> list[tuple[Path, Path]]:
    """Return the files of the ledger ``path`` that was moved to PostgreSQL at ``now`` (naive UTC), each with the path
    at which it is kept. Its lock, and the mark that it has existed, stay."""
    kept = kept_before_move(path.parent, now)
    names = [f"{path.name}{suffix}" for suffix in (*SQLITE_FILES, SEAL)]
    return [(path.with_name(name), kept / name) for name in names]


def is_broken(path: Path) -> bool:
    """Whether the ledger ``path``, which no process has open, does not match its seal, or the seal is damaged."""
    try:
        seal = read_regular(seal_path(path))
    except FileNotFoundError:
        return False
    found = _SHA256.fullmatch(seal)
    return path.exists() and (found is None or found[1] != _digest(path))


def foreign_log(path: Path) -> Path | None:
    """Return the log of the ledger ``path``, or its rollback journal, if it was closed without one; ``None`` if there
    is none. No process of ours may have the ledger open.

    SQLite would apply it, because neither names the file that it belongs to.
    """
    journal = path.with_name(f"{path.name}-journal")
    if has_log(path):
        log = log_path(path)
    elif journal.is_file() and journal.stat().st_size:
        log = journal
    else:
        return None
    is_ours = not seal_path(path).exists() or is_broken(path) or _is_open_elsewhere(path)
    return None if is_ours else log


def _is_open_elsewhere(path: Path) -> bool:
    """Whether another program has the SQLite file ``path`` open, so that the log is its own.

    SQLite then holds a lock on this byte of the log's index.
    """
    try:
        with open(path.with_name(f"{path.name}-shm"), "r+b", opener=regular_only) as index:
            fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, SQLITE_OPEN_BYTE)
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        pass
    return False


def foreign(log: Path, path: Path) -> str:
    """Return the message for a log that does not belong to its ledger ``path``."""
    return f"{log} belongs to another file or program: BizCharts closed {path.name} without a log."


def open_lock(path: Path) -> int:
    """Open the lock file of the ledger ``path``; its exclusive lock guarantees that no process has the ledger open.

    Raises:
        OSError: it cannot be opened.
    """
    return regular_only(_lock_path(path), os.O_RDWR | os.O_CREAT)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Try to lock the ledger ``path`` exclusively; yield whether no process had it open. Creates its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = open_lock(path)
    try:
        yield try_lock(lock)
    finally:
        release(lock)


def release(lock: int) -> None:
    """Unlock and close a file from :func:`open_lock`."""
    # Unlocked explicitly: a forked child that inherited the descriptor would keep the lock after our close.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def mark_known(path: Path) -> None:
    """Record beside its folder that the ledger ``path`` of a home exists.

    Raises:
        OSError: the mark cannot be written.
    """
    if (known := _known_path(path)) and not known.exists():
        known.parent.mkdir(mode=0o700, exist_ok=True)
        known.touch(mode=0o600)
        sync(known.parent)


def _known_path(path: Path) -> Path | None:
    """The mark that the ledger ``path`` has existed; ``None`` for a ledger outside the folder of a home."""
    return path.parent.with_name(KNOWN) / path.name if path.parent.name == FOLDER else None


def _is_current(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), _lock_path(path).stat())
    except FileNotFoundError:
        return False


def _mark_made(lock: int, path: Path) -> None:
    """Mark that the ledger ``path`` exists: in the lock file, which is then known even after a kill, without a seal,
    and outside its folder."""
    with suppress(OSError):  # a full disk; the next use notes it
        if not path.stat().st_size:
            return
        if not os.fstat(lock).st_size:
            os.pwrite(lock, b"made\n", 0)
        mark_known(path)


def _check_unused(path: Path) -> None:
    """Check the state that the last user left, while no process has the ledger open."""
    if is_lost(path):
        raise sqlite3.DatabaseError(lost(path))
    if log := foreign_log(path):
        raise sqlite3.DatabaseError(f"{foreign(log, path)} `bizcharts repair --set-aside` moves it to quarantine")
    if fault := find_fault(path):
        if not fault.cut:
            raise sqlite3.DatabaseError(f"{fault.text}; `bizcharts repair` shows what can be kept")
        warn_of_cut(path, fault)


def warn_of_cut(path: Path, fault: Fault) -> None:
    """Log, once, that the log of the ledger ``path`` ends in an incomplete commit, which SQLite drops.

    If the log was shortened, complete commits may be missing too: a log that was cut looks the same.
    """
    text = (
        f"{fault.text}, as a kill or a power cut leaves it: that commit was not complete, and is dropped. If neither "
        f"happened, the file was cut, and the newest entries of {path.name} are missing; a backup may have them."
    )
    _warn_once(text, log_path(path))


def _warn_once(text: str, about: Path) -> None:
    """Log the warning ``text``, unless this process has done so since ``about`` last changed."""
    with suppress(FileNotFoundError):
        warning = (text, about.stat().st_mtime_ns)
        if warning not in _warned:
            _warned.add(warning)
            _logger.warning("%s", text)


def _unseal(path: Path) -> None:
    """Delete the seal of the ledger ``path``, if it matches, before the ledger changes.

    Every user does so once it holds its shared lock, not only the first one: between its attempts at the two kinds of
    lock, and while an exclusive lock becomes a shared one, others can have opened, closed and sealed the ledger.
    """
    if is_broken(path):
        if seal_path(path).exists():  # else another user has deleted it and written since
            if not _is_sound(path):
                raise sqlite3.DatabaseError(broken(path))
            _warn_once(broken(path), seal_path(path))
        return
    if seal_path(path).exists():
        seal_path(path).unlink(missing_ok=True)
        sync(path.parent)  # or a power cut might bring it back next to a changed file


def _is_sound(path: Path) -> bool:
    """Whether SQLite can read the structure of the ledger ``path``."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def broken(path: Path) -> str:
    """Return the message for a ledger that does not match its seal."""
    with suppress(FileNotFoundError):
        if not _SHA256.fullmatch(read_regular(seal_path(path))):
            return (
                f"{seal_path(path)} is damaged, so {path.name} cannot be checked for changes; "
                "`bizcharts repair` shows what to do."
            )
    return (
        f"{path} is not as BizCharts left it: it is damaged, or another program has changed it; `bizcharts repair` "
        "shows what to do."
    )


def _digest(path: Path) -> bytes:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()
