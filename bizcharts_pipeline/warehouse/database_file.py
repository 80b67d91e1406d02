"""The database as a DuckDB file: short connections under a file lock.

A process that holds a DuckDB file open for writing locks every other process out, readers included, and a reader locks
writers out. So a connection lives for milliseconds: compute first, then open, read or merge, close. Never hold one
across a network call, a model or a user's input.
"""

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from bizcharts_pipeline.core import moved
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.duckdb_file import is_duckdb
from bizcharts_pipeline.core.errors import reason_of, without_kind
from bizcharts_pipeline.core.files import is_special, read_regular, sync, write_atomically
from bizcharts_pipeline.core.sqlite_seal import FOLDER, set_aside_names
from bizcharts_pipeline.warehouse import checkpoints, closed, locks, migrations, swap
from bizcharts_pipeline.warehouse.database import Database, Held
from bizcharts_pipeline.warehouse.errors import (
    DISK_FAILED,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseLogCorrupt,
    DatabaseUnavailable,
    ForeignDatabase,
    NewerDatabase,
    StatementRefused,
    disk_is_full,
)
from bizcharts_pipeline.warehouse.installation import Installation, is_missing
from bizcharts_pipeline.warehouse.interrupts import passed_on, transaction
from bizcharts_pipeline.warehouse.log import Log, cut_log, has_log, read_log, wal
from bizcharts_pipeline.warehouse.values import literal

if TYPE_CHECKING:
    from bizcharts_pipeline.warehouse.compact import Compaction

SHORTEST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.05

# No SQL can fetch, read or write anything outside the database itself.
_HARDENED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
}
_HOLDER = re.compile(r"\(PID (\d+)\)")
_CORRUPT = re.compile(r"corrupt|checksum|Failed to load metadata pointer|Could not read enough bytes", re.IGNORECASE)
_NO_MEMORY = re.compile(r"Out of Memory|could not allocate|failed to (?:pin|allocate|offload)", re.IGNORECASE)
# While the log is replayed: a block of the database itself is damaged. The log has other checksums.
_DAMAGED_BELOW = re.compile(r"computed checksum \d+ does not match stored checksum \d+ in block")
_UNREACHABLE = re.compile(
    r"Cannot open file|Permission (?:denied|Error)|Is a directory|Read-only file system|Input/output error",
    re.IGNORECASE,
)
_WHAT_TO_DO = (
    "Close the program or shell that has it open, or read from a copy (`bizcharts snapshot FILE`); "
    "BIZCHARTS_DATABASE_WAIT_SECONDS sets how long to wait."
)


WHERE_TO_GO = "`bizcharts repair` shows what can be kept, `bizcharts restore FILE --only database` restores a backup."

OWN_TABLE = ("main", "schema_migrations")  # every BizCharts database has it
NOT_A_FILE = "is a folder, a named pipe or a device, not a file; move it away."

T = TypeVar("T")
_logger = logging.getLogger(__name__)


class _HeldElsewhere(Exception):
    """DuckDB's own lock is taken: a shell or another program has the file open."""


class _Unsettled(Exception):
    """A process was killed during a checkpoint or a restore; a reader cannot repair that."""


@dataclass(frozen=True)
class DatabaseFile(Database):
    """A DuckDB file shared by many processes, one writer or several readers at a time.

    :meth:`read` and :meth:`write` wait up to ``wait_seconds`` for the lock. The folder must exist; the file is created,
    and its schema migrated, on first use. Do not nest the two: an open reader blocks a writer. With an
    ``installation``, a lost database is not created again.
    """

    path: Path
    wait_seconds: float = 60
    installation: Installation | None = None

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def runs(self) -> Path:
        return self.path.parent / "runs"

    def waiting(self, seconds: float) -> "DatabaseFile":
        return replace(self, wait_seconds=seconds)

    def check(self) -> None:
        if self.installation:
            self.installation.check()
        self.check_kind()

    def prepare(self) -> None:
        if self.installation:
            self.installation.begin()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        return not is_missing(self.path)

    def require(self) -> None:
        if self.installation:
            self.installation.check()
        if not self.exists() and not swap.journal(self.path).exists():
            folder = self.path.parent
            fault = f"{folder} is not a folder" if folder.exists() else f"the folder {folder} does not exist"
            where = "" if folder.is_dir() else f" ({fault})"
            raise DatabaseUnavailable(
                f"{self.path}: there is no database{where}. Correct BIZCHARTS_HOME or BIZCHARTS_DATABASE, or create "
                "one with `bizcharts poll --once` or `bizcharts import --from DAY`."
            )
        if self.installation:
            self.installation.tighten()
        self.check_kind()

    def stamp(self) -> tuple[int, ...]:
        stamps: list[int] = []
        for path in (self.path, wal(self.path)):
            try:
                status = path.stat()
            except OSError:
                continue
            stamps += [status.st_ino, status.st_mtime_ns, status.st_size]
        return tuple(stamps)

    def bytes_used(self) -> int:
        return self.path.stat().st_size

    def compact(self, *, dry_run: bool = False) -> "Compaction":
        from bizcharts_pipeline.warehouse.compact import compact

        return compact(self, dry_run=dry_run)

    @contextmanager
    def filled(self, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        draft = Path(f"{self.path}.filled")
        with self.exclusive():
            if self.exists():
                raise DatabaseUnavailable(f"{self.path}: the database already exists; nothing was done.")
            for leftover in (draft, wal(draft)):
                leftover.unlink(missing_ok=True)
            try:
                with (
                    self._named_errors(),
                    closing(connect(draft, read_only=False, copy_to=folder)) as connection,
                    passed_on(connection),
                ):
                    migrations.create_tables(connection, migrations.known_migrations())
                    yield connection
                    connection.execute("CHECKPOINT")  # by closing, it would fail without an error
                sync(draft)
                os.replace(draft, self.path)
                sync(self.path.parent)
            finally:
                for leftover in (draft, wal(draft)):
                    leftover.unlink(missing_ok=True)
            if self.installation:
                self.installation.confirm()

    @contextmanager
    def held(self, copy_to: Path, ledgers: Sequence[str]) -> Iterator[Held]:
        self.migrate()
        with (
            self.replacing(),
            closing(self._connect(read_only=True, copy_to=copy_to)) as connection,
            passed_on(connection),
            self._named_errors(),
        ):
            yield Held(connection, self._leave)

    def _leave(self, target: str, ledgers: Sequence[Path], now: datetime, mover: str) -> Path:
        kept = self.path.with_name(f"{self.path.name}.before-move-{now:%Y%m%dT%H%M%S}")
        moves = []
        # The notes first: without them, a process between two renames could begin anew.
        for place in self._noted_places():
            draft = Path(f"{moved.note_path(place)}.new")
            write_atomically(draft, moved.content(moved.moved(str(place), target, now)))
            moves.append(swap.Move(draft, moved.note_path(place), Path(f"{moved.note_path(place)}.before")))
        for path in ledgers:
            moves += [swap.Move(None, *names) for names in set_aside_names(path, now)]
        for beside in (wal, closed.seal_path, closed.note_path):
            moves.append(swap.Move(None, beside(self.path), beside(kept)))
        swap.swap(self.path, [*moves, swap.Move(None, self.path, kept)])
        return kept

    def begin_move(self, source: str, mover: str) -> "DatabaseFile":
        if (note := self.note()) and note.is_unfinished:
            for file in (self.path, wal(self.path), closed.seal_path(self.path)):
                file.unlink(missing_ok=True)
        elif self.exists():
            raise DatabaseUnavailable(f"{self.path}: the database already exists; name a new one. Nothing was moved.")
        for place in self._noted_places():
            moved.write_note(place, moved.unfinished(source, self.name, mover))
        return self

    def end_move(self) -> None:
        for place in self._noted_places():
            moved.note_path(place).unlink(missing_ok=True)

    def _noted_places(self) -> list[Path]:
        """What a note lies beside while no process may use the database: it may be known by another name."""
        return [self.path, *([self.installation.home / FOLDER] if self.installation else [])]

    def note(self) -> moved.Note | None:
        return moved.read_note(self.path)

    def file(self) -> "DatabaseFile":
        return self

    @contextmanager
    def read(self, copy_to: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        if is_missing(self.path):
            self.migrate()
        open_to_read = partial(self._open_to_read, copy_to)
        with (
            self._acquired(open_to_read, exclusive=False) as connection,
            closing(connection),
            passed_on(connection),
        ):
            outdated = self._pending(connection)
            if self.installation:
                self.installation.tighten_database()
            if not outdated:
                with self._named_errors():
                    yield connection
        if outdated:
            self.migrate()
            with (
                self._acquired(open_to_read, exclusive=False) as connection,
                closing(connection),
                self._named_errors(),
                passed_on(connection),
            ):
                yield connection

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with (
            self._acquired(self._open_to_write, exclusive=True) as connection,
            passed_on(connection),
            self._checkpointed(connection),
            passed_on(connection),  # before the checkpoint, which would wait for a running statement
            self._named_errors(),
        ):
            migrations.apply(connection, self._pending(connection), utc_now())
            if self.installation:
                self.installation.tighten_database()
            with transaction(connection):
                yield connection

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Hold the database's exclusive lock, with the log checkpointed and no connection open, in order to replace the
        file.
        """
        with self._acquired(self._checkpoint_log, exclusive=True):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the database's exclusive lock without opening the file, in order to change the files next to it."""
        with self._acquired(self._settle, exclusive=True):
            yield

    @contextmanager
    def _checkpointed(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Close ``connection`` at the end, after a checkpoint if there is a log."""
        size = self.path.stat().st_size
        try:
            yield
        finally:
            if has_log(self.path):
                checkpoints.checkpoint(connection, self.path)
            else:
                connection.close()
                checkpoints.cut(self.path, size)
            closed.seal(self.path)

    @contextmanager
    def _acquired(self, take: Callable[[], T], *, exclusive: bool) -> Iterator[T]:
        """Wait for our file lock, then for DuckDB's own lock; yield the result of ``take``."""
        deadline = time.monotonic() + self.wait_seconds
        while True:
            with self._locked(exclusive=exclusive, deadline=deadline):
                held_by: _HeldElsewhere | None = None
                try:
                    taken = take()
                except _HeldElsewhere as held:
                    held_by = held
                except _Unsettled:
                    pass
                else:
                    yield taken
                    return
            if held_by is None:
                try:
                    with self._locked(exclusive=True, deadline=deadline):
                        self._settle()
                    continue
                except _HeldElsewhere as held:
                    held_by = held
            # Our lock is released meanwhile: a shell that only reads blocks writers, not our readers.
            if time.monotonic() >= deadline:
                raise DatabaseBusy(self._busy(str(held_by)))
            time.sleep(random.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))

    @contextmanager
    def _locked(self, *, exclusive: bool, deadline: float) -> Iterator[None]:
        if not self.path.parent.is_dir():
            raise DatabaseUnavailable(f"{self.path}: the folder {self.path.parent} does not exist; create it first.")
        self.check_kind()
        try:
            lock = locks.acquire(self.path, exclusive=exclusive, deadline=deadline)
        except locks.LockTimeout as timeout:
            holders = ", ".join(map(str, timeout.holders))
            holder = f"held by BizCharts process {holders}" if holders else "held by other BizCharts processes"
            raise DatabaseBusy(self._busy(holder)) from None
        except OSError as error:
            raise DatabaseUnavailable(f"{self.path}: its lock file cannot be opened: {reason_of(error)}") from None
        try:
            yield
        finally:
            locks.release(lock)

    def _busy(self, reason: str) -> str:
        return f"{self.path} was not free within {self.wait_seconds:g} s: {reason}. {_WHAT_TO_DO}"

    def _open_to_read(self, copy_to: Path | None) -> duckdb.DuckDBPyConnection:
        if checkpoints.saved_blocks(self.path).exists() or swap.journal(self.path).exists():
            raise _Unsettled
        if is_missing(self.path) and self.installation:
            self.installation.check()  # it may have been moved while this waited
        self._check_length()
        log = self._log()
        connection = self._connect(read_only=True, copy_to=copy_to)
        if log and not log.complete:
            _warn_once(cut_log(self.path, log))
        return connection

    def _open_to_write(self) -> duckdb.DuckDBPyConnection:
        self._settle()
        if is_missing(self.path):
            if self.installation:
                self.installation.begin()
            with self._named_errors():
                closed.unseal(self.path)  # of a deleted file
                create(self.path)
        self._check_length()
        self._note_change()
        log = self._log()
        # DuckDB drops the bytes after the last complete transaction; a copy of the log is kept.
        dropped = read_regular(wal(self.path)) if log and not log.complete else None
        connection = self._connect(read_only=False)
        try:
            closed.unseal(self.path)
        except OSError as error:
            connection.close()
            raise DatabaseUnavailable(f"{closed.seal_path(self.path)} cannot be removed: {reason_of(error)}") from None
        if log and dropped is not None:
            kept = Path(f"{wal(self.path)}.cut-{utc_now():%Y%m%dT%H%M%S%f}")
            write_atomically(kept, dropped)
            _logger.warning("%s It is kept as %s.", cut_log(self.path, log), kept)
        if self.installation:
            self.installation.confirm()
        # Checkpoints are made only in `_checkpointed`, where they can be undone: not by a commit or by closing.
        with passed_on(connection):
            connection.execute("SET checkpoint_threshold = '1TB'")
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        return connection

    def check_kind(self) -> None:
        """Refuse a file that cannot be a database before anything is created beside it.

        Raises:
            DatabaseUnavailable: it is no file.
            DatabaseCorrupt: it is a file of another kind.
            ForeignDatabase: it is a DuckDB file of another program.
        """
        if is_special(self.path):
            raise DatabaseUnavailable(f"{self.path} {NOT_A_FILE}")
        if is_missing(self.path) or locks.lock_path(self.path).exists():
            return
        if not is_duckdb(self.path):
            raise opening_error(self.path, "not a valid DuckDB database")
        if not closed.seal_path(self.path).exists() and (tables := tables_of(self.path)) and OWN_TABLE not in tables:
            raise ForeignDatabase(f"{self.path} is a DuckDB file of another program; correct BIZCHARTS_DATABASE.")

    def _check_length(self) -> None:
        if closed.is_truncated(self.path):
            raise DatabaseCorrupt(
                f"{self.path} is shorter than when BizCharts closed it: it was truncated, or another program changed "
                f"it; {WHERE_TO_GO}"
            )

    def _note_change(self) -> None:
        try:
            if closed.note_change(self.path):
                _logger.warning("%s `bizcharts repair` shows what can be done.", closed.changed(self.path))
        except OSError as error:
            raise DatabaseUnavailable(f"{self.path} cannot be checked: {reason_of(error)}") from None

    def _log(self) -> Log | None:
        """Return the write-ahead log, if there is one.

        DuckDB would treat a log without its header as empty, and would replay the log of another database.

        Raises:
            DatabaseLogCorrupt: the log has no valid header, or belongs to another database.
            DatabaseUnavailable: it cannot be read; a folder may be in its place.
        """
        try:
            log = read_log(self.path)
        except OSError as error:
            raise DatabaseUnavailable(f"{self.path}: its log cannot be read: {reason_of(error)}") from None
        if log and not log.head:
            raise opening_error(self.path, "the WAL file has no valid header")
        if log and closed.has_foreign_log(self.path):
            if checkpoints.is_held(self.path):
                raise _HeldElsewhere("another program has it open")
            raise DatabaseLogCorrupt(
                f"{wal(self.path)} belongs to another database or program: BizCharts closed {self.path.name} without a "
                "log; `bizcharts repair --set-aside` moves it to quarantine."
            )
        return log

    def _settle(self) -> None:
        try:
            swap.settle(self.path)
            checkpoints.settle(self.path)
        except checkpoints.FileHeld:
            raise _HeldElsewhere("another program has it open") from None
        except ValueError:
            raise DatabaseUnavailable(
                f"{swap.journal(self.path)}, the journal of an interrupted restore, cannot be read; move it away, "
                "and restore the backup again."
            ) from None
        except OSError as error:
            raise DatabaseUnavailable(f"{self.path} cannot be repaired after a kill: {reason_of(error)}") from None

    def _checkpoint_log(self) -> None:
        if is_missing(self.path):
            self._settle()
            return
        with suppress(DatabaseError), self._checkpointed(self._open_to_write()):  # a damaged file is replaced as it is
            pass

    def _connect(self, *, read_only: bool, copy_to: Path | None = None) -> duckdb.DuckDBPyConnection:
        try:
            return connect(self.path, read_only=read_only, copy_to=copy_to)
        except duckdb.ConnectionException as error:
            if "different configuration" in str(error):
                raise _HeldElsewhere(f"this process ({os.getpid()}) has it open in another way") from None
            raise
        except duckdb.Error as error:
            message = str(error)
            if "Could not set lock" in message:
                holder = _HOLDER.search(message)
                raise _HeldElsewhere(f"process {holder[1]} has it open" if holder else message) from None
            raise opening_error(self.path, message) from None

    def _pending(self, connection: duckdb.DuckDBPyConnection) -> list[migrations.Migration]:
        try:
            with self._named_errors():
                return migrations.pending(connection, migrations.known_migrations())
        except DatabaseCorrupt:
            raise
        except DatabaseError as error:
            raise type(error)(f"{self.path}: {error}") from None

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if disk_is_full(str(error)):
                raise DatabaseFull(
                    f"{self.path}: nothing was written, because the disk is full; free some space. ({reason_of(error)})"
                ) from error
            if DISK_FAILED in str(error):
                raise DatabaseUnavailable(f"{self.path}: the disk failed; check it. ({reason_of(error)})") from error
            if _CORRUPT.search(str(error)):
                raise opening_error(self.path, str(error)) from error
            raise StatementRefused(f"{self.path}: DuckDB refused a statement: {reason_of(error)}") from error


def connect(path: Path | str, *, read_only: bool, copy_to: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open the DuckDB file ``path`` with the settings of every connection of this project: no external access, UTC.

    It may read and write files of the folder ``copy_to``, if one is given, and no others.
    """
    if copy_to is None:
        connection = duckdb.connect(str(path), read_only=read_only, config=_HARDENED)
    else:  # DuckDB takes the folder only from a connection that is open to the outside still
        connection = duckdb.connect(
            str(path), read_only=read_only, config={**_HARDENED, "enable_external_access": "true"}
        )
    with passed_on(connection):
        if copy_to is not None:
            connection.execute(f"SET allowed_directories = [{literal(str(copy_to.resolve()))}]")
            connection.execute("SET enable_external_access = false")
        connection.execute("SET TimeZone = 'UTC'")
        # Joins of a batch with a big table then read only the blocks that can match.
        connection.execute("SET dynamic_or_filter_threshold = 100_000")
    return connection


@lru_cache(maxsize=16)
def _warn_once(message: str) -> None:
    _logger.warning("%s", message)


def create(path: Path) -> None:
    """Create a new database file atomically: under a draft name, which is then renamed."""
    draft = Path(f"{path}.new")
    for leftover in (draft, wal(draft), wal(path)):
        leftover.unlink(missing_ok=True)
    with closing(connect(draft, read_only=False)) as connection, passed_on(connection):
        migrations.apply(connection, migrations.known_migrations(), utc_now())
    os.replace(draft, path)


def opening_error(path: Path, message: str, remedy: str = WHERE_TO_GO) -> DatabaseError:
    """Translate DuckDB's ``message`` on opening or reading ``path``; ``remedy`` is the advice about damage."""
    message = without_kind(message)
    if "with version number" in message:
        return NewerDatabase(
            f"{path} was written by another version of DuckDB; this one is {duckdb.__version__}. ({message})"
        )
    if "not a valid DuckDB database" in message or "external extensions is disabled" in message:
        return DatabaseCorrupt(f"{path} is not a DuckDB database; name one, or move it away and start again.")
    if disk_is_full(message):
        return DatabaseFull(
            f"{path} cannot be opened, because the disk is full or a limit is reached; free some space. ({message})"
        )
    if _UNREACHABLE.search(message):
        return DatabaseUnavailable(f"{path} cannot be opened: {message}")
    if _NO_MEMORY.search(message):
        return DatabaseUnavailable(f"{path}: not enough memory; close other programs. ({message})")
    if "WAL file" in message and (_DAMAGED_BELOW.search(message) or f'from file "{path}"' in message):
        return DatabaseCorrupt(f"{path} is damaged, so its log cannot be replayed; {remedy} ({message})")
    if "WAL file" in message:
        return DatabaseLogCorrupt(f"{wal(path)} is damaged, {path.name} itself is unaffected; {remedy} ({message})")
    return DatabaseCorrupt(f"{path} is damaged; {remedy} ({message})")


def tables_of(path: Path) -> set[tuple[str, str]]:
    """Return schema and name of the tables of a DuckDB file; none if it is damaged or in use, as its user will see."""
    try:
        with closing(connect(path, read_only=True)) as connection, passed_on(connection):
            return set(connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall())
    except duckdb.Error:
        return set()
