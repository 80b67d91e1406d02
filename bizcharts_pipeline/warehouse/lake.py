"""The database as a lake, for many machines: DuckLake, with its catalogue in PostgreSQL and its rows in Parquet files
on a disk that all machines mount, or in a bucket of an S3-compatible service.

A process keeps one DuckDB with the lake attached for an hour, since attaching takes longer than a write; each read and
each write is one transaction, and reads one snapshot. There is **one writer at a time**: DuckLake merges the commits of
concurrent writers, and has missed conflicts in doing so. Three things keep that from happening:

1. A writer holds an advisory lock of PostgreSQL from before its snapshot until after its commit. It belongs to a
   transaction of a connection of its own, so the server releases it when the writer dies or is cut off.
2. Before the commit, the writer asks over that connection whether it still has it. If not, nothing is committed.
3. ``ducklake_max_retry_count`` is 0: DuckLake commits only on the snapshot that the transaction has read, enforced by a
   primary key of the catalogue. So a writer whose lock is lost after the question, or who never asked for one (a
   shell), makes at most one commit fail; it is never merged.

The connection is closed to all files but the lake's.
"""

import json
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from bizcharts_pipeline.core import moved
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.files import read_regular, write_atomically
from bizcharts_pipeline.core.postgres import connect as server_connection
from bizcharts_pipeline.core.postgres import (
    connection_words,
    holding,
    mark_moved,
    moved_record,
    unmark_moved,
)
from bizcharts_pipeline.core.sqlite_seal import FOLDER as LEDGERS
from bizcharts_pipeline.settings import LAKE, postgres_words
from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.catalogue import (
    CATALOGUE,
    EXTENSIONS,
    FILES,
    HAS_LOCK,
    IS_MOVED,
    IS_THERE,
    LOCK,
    LOCK_HOLDER,
    MOVED_TO,
    SIZES,
    SNAPSHOT,
    TAKE_LOCK,
    ask,
    extension_file,
    named_error,
    row,
)
from bizcharts_pipeline.warehouse.compact import Compaction
from bizcharts_pipeline.warehouse.database import Database, Held
from bizcharts_pipeline.warehouse.database_file import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS
from bizcharts_pipeline.warehouse.errors import DatabaseBusy, DatabaseLost, DatabaseUnavailable
from bizcharts_pipeline.warehouse.installation import LAKE_MARK, Installation, own_file
from bizcharts_pipeline.warehouse.interrupts import passed_on, transaction
from bizcharts_pipeline.warehouse.lake_commits import find_lost_commit, undo
from bizcharts_pipeline.warehouse.lake_files import Bucket, Folder, place_of
from bizcharts_pipeline.warehouse.statistics import table_names
from bizcharts_pipeline.warehouse.values import quoted

# DuckDB keeps the footers of all files that it has read, also of those that have been deleted since.
ATTACHED_SECONDS = 3600
FOLDER = "lake"  # in the home, unless the settings name another
SNAPSHOT_HOURS = 24  # for readers, and for whoever wants to look back
REWRITE_SHARE = 0.2  # of a file's rows that are deleted
MIN_FREE_SHARE, MIN_SMALL_FILES = 0.25, 50

# DuckLake can keep small writes in the catalogue, but loses rows then: of a MERGE, two INSERTs and two UPDATEs in one
# transaction, the first row is gone.
NO_INLINING = "SET GLOBAL ducklake_default_data_inlining_row_limit = 0"
_LAKE = "lake"  # name of the attached lake
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
# DuckLake makes no index, and asks for the statistics of a column, of all files of the last day, with each filter.
_INDEX = "CREATE INDEX IF NOT EXISTS bizcharts_column_stats ON public.ducklake_file_column_stats (table_id, column_id)"
_UPKEEP = (
    f"CALL postgres_execute('{CATALOGUE}', '{_INDEX}')",
    f"CALL ducklake_expire_snapshots('{_LAKE}', older_than => now() - INTERVAL {SNAPSHOT_HOURS} HOUR)",
    f"CALL ducklake_rewrite_data_files('{_LAKE}', delete_threshold => {REWRITE_SHARE})",
    f"CALL ducklake_merge_adjacent_files('{_LAKE}')",
    f"CALL ducklake_cleanup_old_files('{_LAKE}', older_than => now() - INTERVAL {SNAPSHOT_HOURS} HOUR)",
    f"CALL ducklake_delete_orphaned_files('{_LAKE}', older_than => now() - INTERVAL {SNAPSHOT_HOURS} HOUR)",
)

_logger = logging.getLogger(__name__)
_attached: dict[tuple[str, str], tuple[duckdb.DuckDBPyConnection, float]] = {}  # and when, on the monotonic clock
_inherited: list[duckdb.DuckDBPyConnection] = []
_attaching = threading.Lock()


@dataclass(frozen=True)
class Lake(Database):
    """A DuckLake catalogue in PostgreSQL, with its files in a folder or a bucket.

    Args:
        address: ``ducklake:postgres:`` and the words of a connection string, without a password.
        home: the installation's home; ``None``: it belongs to none.
        files: the folder or bucket (``s3://BUCKET/PREFIX``) of its files; empty: the one that the catalogue names, or
            ``lake`` in the home.
        wait_seconds: maximum wait for another writer.
        is_target: this process moves the tables to it, so that it may be incomplete.
    """

    address: str
    home: Path | None
    files: str = ""
    wait_seconds: float = 60
    is_target: bool = False  # of a move, which may be unfinished

    many_homes = True
    instead_of_a_file = (
        "back it and the ledgers up with `pg_dump` and a copy of its files; `bizcharts migrate --to "
        "FILE` moves them back to files (docs/operating.md)."
    )

    @property
    def name(self) -> str:
        return self.address

    @property
    def runs(self) -> Path:
        return self._home() / "runs"

    def waiting(self, seconds: float) -> "Lake":
        return replace(self, wait_seconds=seconds)

    def check(self) -> None:
        for extension in EXTENSIONS:
            extension_file(extension)
        if self.files:
            place_of(self.files).require_extension()
        self._installation().check()

    def prepare(self) -> None:
        self.check()
        self._installation().begin()

    def exists(self) -> bool:
        if self._opened(create=False) is None:
            return False
        with self._cursor() as connection, self._named_errors():
            return bool(table_names(connection))

    def require(self) -> None:
        self.check()
        if not self.exists():
            raise DatabaseUnavailable(
                f"{self.name}: PostgreSQL has no lake there. Correct BIZCHARTS_DATABASE, or create one with `bizcharts "
                "init`, or with `bizcharts migrate --to` from the database that you have."
            )
        with self._cursor() as connection, self._named_errors():
            self._refuse_moved(connection)
        self._installation().tighten()

    def stamp(self) -> object:
        with self._cursor() as connection, self._named_errors():
            return ask(connection, SNAPSHOT)

    def bytes_used(self) -> int:
        with self._cursor() as connection, self._named_errors():
            return int(row(connection, SIZES)[0])

    @contextmanager
    def read(self, copy_to: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        for attempt in (1, 2):
            with self._cursor(copy_to) as connection, self._named_errors(), _rolled_back(connection):
                self._refuse_moved(connection)
                if not migrations.pending(connection, migrations.known_migrations()) or attempt == 2:
                    yield connection
                    return
            self.migrate()

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._writing() as (connection, lock):
            self._refuse_moved(connection)
            pending = migrations.pending(connection, migrations.known_migrations())
            migrations.apply(connection, pending, utc_now(), keys=False)
            with transaction(connection):
                yield connection
                self._check_lock(lock)

    def compact(self, *, dry_run: bool = False) -> Compaction:
        """Merge small files of the lake, rewrite files with many deleted rows, and delete the files that no snapshot of
        the last day needs. Readers go on; writers wait.
        """
        # What DuckLake keeps of a schema is wrong after it: to read an empty table then would end the process.
        with self._writing(alone=True) as (connection, lock):
            self._refuse_moved(connection)
            before, free, files = row(connection, SIZES)
            worth_it = free >= MIN_FREE_SHARE * before or files >= MIN_SMALL_FILES
            if worth_it and not dry_run:
                for step in _UPKEEP:
                    self._check_lock(lock)
                    with passed_on(connection):
                        connection.execute(step)
            after = row(connection, SIZES)[0]
        return Compaction(before, free, after, worth_it, worth_it and not dry_run)

    @contextmanager
    def filled(self, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        self.prepare()
        with self._writing(folder) as (connection, lock):
            if table_names(connection):
                raise DatabaseUnavailable(f"{self.name}: the database already exists; nothing was done.")
            with transaction(connection):
                migrations.create_tables(connection, migrations.known_migrations(), keys=False)
                yield connection
                self._check_lock(lock)

    @contextmanager
    def held(self, copy_to: Path, ledgers: Sequence[str]) -> Iterator[Held]:
        self.require()
        with self.write():
            pass  # a lost commit is undone
        with ExitStack() as stack:
            with self._named_ledger_errors():
                session = stack.enter_context(holding(postgres_words(self.address), LOCK, ledgers, self.wait_seconds))

            def leave(target: str, files: Sequence[Path], now: datetime, mover: str) -> None:
                with self._named_ledger_errors():  # by the connection that has the locks, while it has them
                    session.record_moved(moved.moved(self.name, target, now, only_in=mover))
                    session.commit()

            yield Held(stack.enter_context(self.read(copy_to)), leave)

    def begin_move(self, source: str, mover: str) -> "Lake":
        target = replace(self, is_target=True)
        if (note := self.note()) and note.is_unfinished:
            # Not by `write`, which reads rows: their files may be gone.
            with target._writing() as (connection, lock), transaction(connection):
                for name in table_names(connection):
                    connection.execute(f'DROP TABLE "{name}"')
                self._check_lock(lock)
        elif self.exists():
            raise DatabaseUnavailable(f"{self.name}: the lake already exists; name a new one. Nothing was moved.")
        else:
            with self._named_ledger_errors():
                mark_moved(postgres_words(self.address), moved.unfinished(source, self.name, mover))
        return target

    def end_move(self) -> None:
        with self._named_ledger_errors():
            unmark_moved(postgres_words(self.address))

    def note(self) -> moved.Note | None:
        with self._named_ledger_errors():
            return moved_record(postgres_words(self.address))

    @contextmanager
    def _writing(
        self, copy_to: Path | None = None, *, alone: bool = False
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]]:
        """Yield a connection of the only writer, as of :meth:`_cursor`, and the one that has the lock."""
        with self._cursor() as lock, self._locked(lock):
            self._undo_lost_commit(lock)
            # It begins after the lock was taken.
            with self._cursor(copy_to, alone=alone) as connection, self._named_errors():
                yield connection, lock

    def _undo_lost_commit(self, lock: duckdb.DuckDBPyConnection) -> None:
        with self._cursor() as connection, self._named_errors():
            lost = find_lost_commit(connection)
        if lost is None:
            return
        self._check_lock(lock)
        with (
            self._named_ledger_errors(),
            closing(server_connection(postgres_words(self.address), "public", self.wait_seconds)) as server,
        ):
            undo(server, lost)
        _logger.warning("%s: a commit whose answer was lost was undone; its writer has reported an error.", self.name)
        _attached.pop((self.address, self.files), None)  # it may have read tables that the commit has created

    def _refuse_moved(self, connection: duckdb.DuckDBPyConnection) -> None:
        if ask(connection, IS_MOVED):
            target, message = row(connection, MOVED_TO)
            if target or not self.is_target:
                raise DatabaseUnavailable(message)

    @contextmanager
    def _named_ledger_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"{self.name}: {error}") from None

    @contextmanager
    def _cursor(self, copy_to: Path | None = None, *, alone: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the attached lake, which is created if there is none: one of this process's DuckDB or,
        if it may write to the folder ``copy_to`` or is to be ``alone``, of one that is closed at the end.
        """
        with ExitStack() as stack:
            if alone or copy_to is not None:
                opened = self._attach(create=True, copy_to=copy_to)
                assert opened
                stack.enter_context(closing(opened))
            else:
                opened = self._opened(create=True)
                assert opened
            connection = stack.enter_context(closing(opened.cursor()))
            with self._named_errors(), passed_on(connection):
                for statement in (f"USE {_LAKE}", "SET TimeZone = 'UTC'", "SET dynamic_or_filter_threshold = 100_000"):
                    connection.execute(statement)
            yield connection

    @contextmanager
    def _locked(self, lock: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Hold the writers' lock in a transaction of the connection ``lock``.

        Raises:
            DatabaseBusy: another writer held it until the deadline.
        """
        deadline = time.monotonic() + self.wait_seconds
        with self._named_errors(), _rolled_back(lock):
            while not ask(lock, TAKE_LOCK):
                if time.monotonic() >= deadline:
                    holder = ask(lock, LOCK_HOLDER) or "another program"
                    raise DatabaseBusy(
                        f"{self.name} was not free within {self.wait_seconds:g} s: {holder} is writing. "
                        "BIZCHARTS_DATABASE_WAIT_SECONDS sets how long to wait."
                    )
                time.sleep(random.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
            yield

    def _check_lock(self, lock: duckdb.DuckDBPyConnection) -> None:
        """Check that this process still is the writer.

        Raises:
            DatabaseUnavailable: the connection that held the lock is lost; the transaction must not be committed.
        """
        with suppress(duckdb.Error):
            if ask(lock, HAS_LOCK):
                return
        raise DatabaseUnavailable(
            f"{self.name}: the connection that held the writers' lock was lost, so nothing was written; try again."
        )

    def _opened(self, *, create: bool) -> duckdb.DuckDBPyConnection | None:
        """Return this process's DuckDB with the lake attached; ``None`` if there is no lake and none is created."""
        with _attaching:
            key = (self.address, self.files)
            opened, since = _attached.get(key, (None, 0.0))
            if opened and time.monotonic() - since < ATTACHED_SECONDS:
                return opened
            # What other threads have of the one before lives until they end.
            _attached.pop(key, None)
            if opened := self._attach(create=create):
                _attached[key] = (opened, time.monotonic())
            return opened

    def _attach(self, *, create: bool, copy_to: Path | None = None) -> duckdb.DuckDBPyConnection | None:
        opened = duckdb.connect(config=_CONFIG)
        try:
            with self._named_errors(), passed_on(opened):
                for extension in EXTENSIONS:
                    opened.execute(f"LOAD {quoted(str(extension_file(extension)))}")
                opened.execute("SET GLOBAL ducklake_max_retry_count = 0")
                opened.execute(NO_INLINING)
                if self.home:  # for what does not fit into memory
                    opened.execute(f"SET temp_directory = {quoted(str(self.home / 'lake.tmp'))}")
                opened.execute(f"ATTACH {quoted(self._words())} AS {CATALOGUE} (TYPE postgres)")
                if not ask(opened, IS_THERE):
                    if not create:
                        opened.close()
                        return None
                    self._refuse_moved(opened)
                    with closing(opened.cursor()) as lock, self._locked(lock):
                        if not ask(opened, IS_THERE):  # nobody has been faster
                            self._create(opened)
                place = self._place(ask(opened, FILES))
                place.open(opened)
                place.check(opened)
                opened.execute(f"ATTACH IF NOT EXISTS {self._lake_words()} AS {_LAKE} (CREATE_IF_NOT_EXISTS false)")
                allowed = [place, *([copy_to.resolve()] if copy_to else [])]
                opened.execute(f"SET allowed_directories = [{', '.join(quoted(f'{path}/') for path in allowed)}]")
                opened.execute("SET enable_external_access = false")
                self._note()
        except BaseException:
            opened.close()
            raise
        return opened

    def _create(self, opened: duckdb.DuckDBPyConnection) -> None:
        """Create the catalogue's tables and the place of the files.

        Raises:
            DatabaseLost: the installation has had this lake.
        """
        note = moved.read_note(self._home() / LEDGERS)
        if self._noted() or (note and note.target == self.address):
            mark = self._mark() if self._noted() else moved.note_path(self._home() / LEDGERS)
            raise DatabaseLost(
                f"{self.name}: PostgreSQL has no lake there, but this installation has had one ({mark}). "
                "Restore its dump; or delete that file to start with an empty lake."
            )
        if not self.is_target and (file := own_file(self._home())):
            raise DatabaseUnavailable(
                f"{self.name}: PostgreSQL has no lake there, and the database of this home is {file}. To move it, "
                "unset BIZCHARTS_DATABASE and run `bizcharts migrate --to` with this address."
            )
        place = place_of(self.files) if self.files else Folder(self._home() / FOLDER)
        place.open(opened)
        place.begin(opened, self.address)
        opened.execute(f"ATTACH {self._lake_words()} AS {_LAKE} (DATA_PATH {quoted(f'{place}/')})")

    def _place(self, recorded: str) -> Folder | Bucket:
        """Return where the files are, as the catalogue has ``recorded`` it.

        Raises:
            DatabaseUnavailable: the setting names another place.
        """
        place = place_of(recorded)
        if self.files and place != place_of(self.files):
            raise DatabaseUnavailable(
                f"{self.name}: the lake's files are in {place}, not in {self.files}; correct BIZCHARTS_DATABASE_FILES."
            )
        return place

    def _words(self) -> str:
        return connection_words(postgres_words(self.address))

    def _lake_words(self) -> str:
        return quoted(f"{LAKE}postgres:{self._words()}")

    def _installation(self) -> Installation:
        return Installation(self._home(), None)

    def _home(self) -> Path:
        if self.home is None:
            raise DatabaseUnavailable(f"{self.name}: a lake needs a home; set BIZCHARTS_HOME.")
        return self.home

    def _mark(self) -> Path:
        return self._home() / LAKE_MARK

    def _noted(self) -> bool:
        with suppress(OSError, ValueError, AttributeError):
            return bool(json.loads(read_regular(self._mark())).get("lake") == self.address)
        return False

    def _note(self) -> None:
        """Mark that the installation has had this lake."""
        if self.home is not None and not self.is_target and not self._noted():
            with suppress(OSError):  # a full disk: the next process marks it
                content = {"lake": self.address, "since": utc_now().isoformat()}
                write_atomically(self._mark(), json.dumps(content).encode() + b"\n")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                _attached.pop((self.address, self.files), None)  # DuckDB refuses everything after it
            raise named_error(self.name, error) from None


@contextmanager
def _rolled_back(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run a transaction that changes nothing: it is rolled back at the end."""
    connection.execute("BEGIN TRANSACTION READ ONLY")
    try:
        with passed_on(connection):
            yield
    finally:
        with suppress(duckdb.Error):  # an error that ended the transaction has rolled it back
            connection.rollback()


def _forget_in_child() -> None:
    """After a fork, the parent's connections are left alone: closing one would end it on the server."""
    global _attaching
    _inherited.extend(opened for opened, _ in _attached.values())
    _attached.clear()
    _attaching = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)
