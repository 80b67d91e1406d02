"""Ledgers in PostgreSQL, each a schema of its name, and locks that hold across machines.

Which ledgers a database has had is recorded in it, in a schema of its own, so that a lost one is noticed on every
machine.

A write transaction holds an advisory lock of its ledger, so there is one at a time, as with SQLite. A connection is
opened for each use, and none is kept for the next one: their number is bounded by what works at a time.

If the connection is lost within a transaction, the server rolls it back, and the caller gets an error. If it is lost
during the commit, nobody knows; the caller gets an error then too, which is safe: a reservation that was made counts,
and a label that is written again adds nothing.
"""

import hashlib
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from bizcharts_pipeline.core.moved import Note
from bizcharts_pipeline.core.postgres_dialect import as_postgres, with_marks

CONNECT_SECONDS = 10
# A connection that is cut off is given up by the client well before the server, which then releases its locks: DuckLake
# deletes the files of a commit that has failed, and must have done so when another process begins to write.
CLIENT_SECONDS, SERVER_SECONDS = 15, 30
# How long to try to open a connection, which may be repeated as nothing was sent yet: to a server that does not answer,
# and to one that says that it starts.
AWAY_SECONDS, START_SECONDS = 10.0, 60.0
ASK_EVERY_SECONDS = 5.0  # between two looks whether a lock is still held
FROZEN_SECONDS = 60  # a transaction whose process does nothing for so long is rolled back, and its lock released
_PAUSE_SECONDS = 0.2
_FULL = ("53100", "25006")  # disk full; a server that may only be read
_STARTS = "the database system is"  # starting up, in recovery mode, shutting down
_PASSING = re.compile(f"{_STARTS}|too many clients|remaining connection slots|too many connections")
_LOCKED = "55P03"  # lock_not_available
_BUSY = "another process is writing to it"
_REFUSALS = (
    (
        re.compile(r"permission denied|must be owner of"),
        "The role lacks a right in PostgreSQL; grant the one that is named here.",
    ),
    (
        re.compile("read-only transaction"),
        "PostgreSQL takes no writes; is it a standby, or default_transaction_read_only set?",
    ),
    (
        re.compile(r'database "[^"]*" does not exist'),
        "The database is missing in PostgreSQL; correct the address, or create it with `createdb`.",
    ),
    (
        re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry|role \""),
        "PostgreSQL refuses the connection; set PGPASSWORD in .env, or use ~/.pgpass.",
    ),
)
_HOLDERS = (
    "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = ?"
)
_SECRET = re.compile(r"password\s*=\s*\S+", re.IGNORECASE)
_MISSING = "The package psycopg2 is not installed: run `make install-lake`"
DRAFT = "_moving"  # after the name of a schema that is being filled, and is no ledger yet
KNOWN_SCHEMA = "bizcharts_ledgers"
KNOWN = f"{KNOWN_SCHEMA}.known"  # the table of the names of all ledgers that have existed
# The table that says that the lake and its ledgers must not be used, as they were moved or are not complete; there is
# none while they are in use. For files, the notes of core/moved.py say so.
MOVED = f"{KNOWN_SCHEMA}.moved"
_COMMENT = "ledger of BizCharts, version "


def connection_words(words: str, *settings: str) -> str:
    """Return the connection string with ``settings`` of the server, each as ``name=value``. This side notices within
    :data:`CLIENT_SECONDS` that the other's machine is cut off, and the server within :data:`SERVER_SECONDS`.
    """
    known = (
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        f"tcp_keepalives_count={(SERVER_SECONDS - 10) // 5}",
    )
    of_server = " ".join(f"-c {each}" for each in (*known, *settings))
    return (
        f"{words} connect_timeout={CONNECT_SECONDS} keepalives_idle=5 keepalives_interval=2 "
        f"keepalives_count={(CLIENT_SECONDS - 5) // 2} tcp_user_timeout={CLIENT_SECONDS * 1000} "
        f"application_name='{_own_name()}' options='{of_server}'"
    )


def _own_name() -> str:
    return f"bizcharts {socket.gethostname()} {os.getpid()}"


def refusal(message: str) -> str | None:
    """Return what to do about ``message``, in which PostgreSQL refuses a connection or a statement; ``None`` if it is
    another message."""
    return next((f"{what} ({message})" for pattern, what in _REFUSALS if pattern.search(message)), None)


def one_line(message: str) -> str:
    """Return a message of PostgreSQL in one line, without a password."""
    return " ".join(_SECRET.sub("", message).split())


class PostgresConnection:
    """A connection to the ledger that is the schema ``schema``; see :class:`bizcharts_pipeline.core.ledgers.Connection`
    for its methods."""

    def __init__(self, opened: Any, schema: str, busy_seconds: float) -> None:
        self._opened = opened
        self._schema = schema
        self._busy_seconds = busy_seconds

    @property
    def version(self) -> int:
        """Version of the ledger's tables, in the comment of their schema; 0: there is none yet, or it is the schema of
        another program."""
        # Not by to_regnamespace: its cache, within a transaction, misses a schema that was made since the last one.
        query = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = ?"
        (text,) = self.execute(query, (self._schema,)).fetchone() or (None,)
        number = (text or "").removeprefix(_COMMENT)
        return int(number) if number.isdecimal() else 0

    @version.setter
    def version(self, version: int) -> None:
        self._run(f"COMMENT ON SCHEMA {self._schema} IS '{_COMMENT}{int(version)}'")
        if not self._schema.endswith(DRAFT):
            self.record()

    def record(self) -> None:
        """Record in the database that the ledger has existed."""
        self._run(_recorded(self._schema))

    def is_recorded(self) -> bool:
        """Whether the database has recorded that the ledger has existed."""
        return self._schema in self.recorded()

    def recorded(self) -> list[str]:
        """Return the names of all ledgers that have existed in this database, in order."""
        if self.execute("SELECT to_regclass(?)", (KNOWN,)).fetchone()[0] is None:
            return []
        return [str(name) for (name,) in self.execute(f"SELECT name FROM {KNOWN} ORDER BY name")]

    def unrecord(self) -> None:
        """Delete the record that the ledger has existed, if there is one."""
        if self.is_recorded():
            self.execute(f"DELETE FROM {KNOWN} WHERE name = ?", (self._schema,))

    def refuse_moved(self) -> None:
        """Refuse a database whose ledgers were moved elsewhere, or are not complete.

        Raises:
            sqlite3.DatabaseError: says what to do.
        """
        if note := self.moved_record():
            raise sqlite3.DatabaseError(note.message)

    def moved_record(self) -> Note | None:
        """Return the record that the lake and the ledgers of the database must not be used; ``None`` if they may."""
        if self.execute("SELECT 1 FROM pg_tables WHERE schemaname || '.' || tablename = ?", (MOVED,)).fetchone():
            return Note(*self.execute(f"SELECT target, message FROM {MOVED}").fetchone())
        return None

    def record_moved(self, note: Note) -> None:
        """Record that no process may use the lake and the ledgers of the database."""
        self._run(f"CREATE SCHEMA IF NOT EXISTS {KNOWN_SCHEMA}")
        columns = "SELECT ?::TEXT AS target, ?::TEXT AS message"
        self.execute(f"CREATE TABLE IF NOT EXISTS {MOVED} AS {columns}", (note.target, note.message))

    def is_foreign(self, tables: Collection[str]) -> bool:
        """Whether the schema exists and is no ledger, or holds other tables or views than ``tables``."""
        query = "SELECT relname FROM pg_class WHERE relnamespace = ? AND relkind IN ('r', 'p', 'f', 'v', 'm')"
        found = self.execute("SELECT oid FROM pg_namespace WHERE nspname = ?", (self._schema,)).fetchone()
        return found is not None and (
            not self.version or not {name for (name,) in self.execute(query, found)} <= set(tables)
        )

    @property
    def in_transaction(self) -> bool:
        return not self._opened.closed and self._opened.info.transaction_status != 0  # 0: TRANSACTION_STATUS_IDLE

    def begin(self) -> None:
        wait = f"SET LOCAL lock_timeout = {max(1, round(self._busy_seconds * 1000))}"
        self.take(_key(self._schema), f"BEGIN; {wait}; ")
        try:
            if not self._schema.endswith(DRAFT):
                self.refuse_moved()  # while it waited
        except BaseException:
            if self.in_transaction:
                self.rollback()
            raise

    def take(self, key: int, begin: str = "") -> None:
        """Take the advisory lock ``key`` until the end of the transaction, which the statements ``begin`` can begin.

        Raises:
            sqlite3.OperationalError: another process has it; the transaction is rolled back.
        """
        try:
            self._run(f"{begin}SELECT pg_advisory_xact_lock({key})")
        except BaseException as error:
            if self.in_transaction:
                self.rollback()
            if str(error) == _BUSY and (holder := self._holder(key)):
                raise sqlite3.OperationalError(f"{holder} is writing to it") from None
            raise

    def _holder(self, key: int) -> str | None:
        """Return machine and process of who has a lock, if there is one and this role may know it."""
        found = self.execute(f"SELECT application_name {_HOLDERS}", (key,)).fetchone()
        return found[0] or None if found else None

    def commit(self) -> None:
        if self._opened.info.transaction_status == 3:  # in error: COMMIT would silently roll it back
            raise sqlite3.DatabaseError("a statement failed, so nothing was written")
        self._run("COMMIT", "the connection was lost during the commit, so it is not known whether it was made")

    def rollback(self) -> None:
        with suppress(sqlite3.OperationalError):  # a connection that is lost has rolled it back
            self._run("ROLLBACK")

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        values: Any
        if isinstance(parameters, Mapping):
            values = {name: storable(value) for name, value in parameters.items()}
        else:
            values = tuple(map(storable, parameters))
        return self._run(with_marks(sql), values=values)

    def execute_for_each(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        return sum(self.execute(sql, row).rowcount for row in rows)

    def create(self) -> None:
        """Create the schema, without tables, if it is missing."""
        self._run(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")

    def define(self, statement: str) -> None:
        self.create()
        if translated := as_postgres(statement):
            self._run(translated)

    def tables(self) -> list[str]:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = ? ORDER BY tablename"
        return [str(name) for (name,) in self.execute(query, (self._schema,))]

    def columns(self, table: str) -> list[str]:
        query = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ? "
            "ORDER BY ordinal_position"
        )
        return [str(name) for (name,) in self.execute(query, (self._schema, table))]

    def close(self) -> None:
        self._opened.close()

    def count_on(self) -> None:
        """Let the numbers of new rows follow those of rows that were inserted with theirs."""
        query = (
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = ? AND is_identity = 'YES'"
        )
        for table, column in self.execute(query, (self._schema,)).fetchall():
            last = f"SELECT coalesce(max({column}), 0) + 1 FROM {table}"
            self.execute(f"SELECT setval(pg_get_serial_sequence(?, ?), ({last}), false)", (table, column))

    def run_whole(self, statements: str) -> None:
        """Run statements without parameters in one transaction."""
        self._run(f"BEGIN; {statements}")
        self.commit()

    def rename(self, name: str) -> None:
        """Put the ledger in place of the ledger ``name``, if there is one, and record that that one has existed."""
        put = f"DROP SCHEMA IF EXISTS {name} CASCADE; ALTER SCHEMA {self._schema} RENAME TO {name}"
        self.run_whole(f"{put}; {_recorded(name)}")

    def drop(self) -> None:
        """Delete the ledger, if there is one."""
        self._run(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")

    def _run(
        self,
        sql: str,
        if_lost: str = "the connection to PostgreSQL was lost, so nothing was written; try again",
        values: Any = None,
    ) -> Any:
        import psycopg2

        # A cursor for each statement: the rows of an earlier one may still be read.
        try:
            cursor = self._opened.cursor()
            cursor.execute(sql, values)
        except psycopg2.Error as error:
            raise named_error(error, if_lost if self._opened.closed else None) from None
        return cursor


def connect(words: str, schema: str, busy_seconds: float) -> PostgresConnection:
    """Open the ledger that is the schema ``schema`` of the database with the connection string ``words``; it need not
    exist yet.

    Raises:
        sqlite3.OperationalError: the server does not answer, or refuses the connection.
    """
    own = (f"search_path={schema}", "synchronous_commit=on", f"idle_in_transaction_session_timeout={FROZEN_SECONDS}s")
    return PostgresConnection(_open(connection_words(words, *own), busy_seconds), schema, busy_seconds)


@contextmanager
def holding(words: str, lock: int, ledgers: Iterable[str], seconds: float) -> Iterator[PostgresConnection]:
    """Yield a connection with an open transaction that has the advisory lock ``lock`` and those of the ``ledgers``, by
    name; it waits for each for ``seconds``. So if its commit succeeds, no other process had one until then. What was
    not committed is rolled back.

    Raises:
        sqlite3.OperationalError: another process has one, or the server does not answer.
    """
    own = ("synchronous_commit=on", "idle_in_transaction_session_timeout=0")  # all is copied meanwhile
    opened = PostgresConnection(_open(connection_words(words, *own), seconds), "public", seconds)
    with closing(opened):
        opened.execute(f"BEGIN; SET LOCAL lock_timeout = {max(1, round(seconds * 1000))}")
        for key in (lock, *map(_key, ledgers)):
            opened.take(key)
        yield opened


def others_at_work(words: str) -> list[str]:
    """Return the other processes, by machine and number, that hold a lock in the database of the connection string
    ``words``: runs, writers and services.

    Raises:
        sqlite3.OperationalError: the server does not answer, or refuses the connection.
    """
    query = (
        "SELECT DISTINCT coalesce(nullif(application_name, ''), 'another program') "
        "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
        "AND application_name <> ? AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with closing(connect(words, "public", AWAY_SECONDS)) as connection:
        return sorted(name for (name,) in connection.execute(query, (_own_name(),)))


def mark_moved(words: str, note: Note) -> None:
    """Record ``note``, in the database of the connection string ``words``: no process may use the lake and the ledgers
    in it.

    Raises:
        sqlite3.Error: it was not recorded.
    """
    with closing(connect(words, KNOWN_SCHEMA, AWAY_SECONDS)) as connection:
        connection.record_moved(note)


def moved_record(words: str) -> Note | None:
    """Return the record of :func:`mark_moved`; ``None`` if there is none.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(connect(words, KNOWN_SCHEMA, AWAY_SECONDS)) as connection:
        return connection.moved_record()


def unmark_moved(words: str) -> None:
    """Delete the record of :func:`mark_moved`, if there is one.

    Raises:
        sqlite3.Error: it was not deleted.
    """
    with closing(connect(words, KNOWN_SCHEMA, AWAY_SECONDS)) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {MOVED}")


class Lock:
    """The lock ``name``, of the database with the connection string ``words``; other names are other locks. The server
    releases it when this process dies or is cut off."""

    def __init__(self, words: str, name: str, seconds: float = START_SECONDS) -> None:
        """Connect to the server, for at most ``seconds`` if it does not answer.

        Raises:
            sqlite3.OperationalError: it does not answer, or refuses the connection.
        """
        self._connection = PostgresConnection(_open(connection_words(words), seconds), "public", seconds)
        self._key = _key(name)

    def take(self) -> bool:
        """Take the lock, and return whether it was free.

        Raises:
            sqlite3.OperationalError: the connection is lost.
        """
        return bool(self._connection.execute("SELECT pg_try_advisory_lock(?)", (self._key,)).fetchone()[0])

    def is_held(self) -> bool:
        """Whether this connection has the lock.

        Raises:
            sqlite3.OperationalError: the connection is lost, and the lock with it.
        """
        return self._count("pid = pg_backend_pid()") > 0

    def is_taken(self) -> bool:
        """Whether any connection has the lock.

        Raises:
            sqlite3.OperationalError: the connection is lost.
        """
        return self._count("true") > 0

    def _count(self, condition: str) -> int:
        query = f"SELECT count(*) {_HOLDERS} AND {condition}"
        return int(self._connection.execute(query, (self._key,)).fetchone()[0])

    def close(self) -> None:
        """Release the lock."""
        with suppress(sqlite3.Error):  # the server notices the end of a connection only some time later
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()


class KeptLock:
    """A :class:`Lock` that is taken again after its connection was lost, by whoever asks first."""

    def __init__(self, words: str, name: str) -> None:
        self._words, self._name = words, name
        self._lock: Lock | None = None

    def is_ours(self, seconds: float = 0.0) -> bool:
        """Take the lock if it is free, waiting for at most ``seconds`` for a server that does not answer; return
        whether it is held here.

        Raises:
            sqlite3.OperationalError: the server does not answer, or the connection was lost.
        """
        try:
            if self._lock is None:
                self._lock = Lock(self._words, self._name, seconds)
            return self._lock.is_held() or self._lock.take()
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@contextmanager
def lock(words: str, name: str) -> Iterator[bool]:
    """Try to take a lock for as long as the block runs; yield whether it was free. If the server restarts meanwhile, a
    thread takes it again within seconds.

    Raises:
        sqlite3.OperationalError: the server does not answer, or refuses the connection.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(ASK_EVERY_SECONDS):
            with suppress(sqlite3.Error):  # it is away: ask again
                kept.is_ours()

    with closing(KeptLock(words, name)) as kept:
        if not kept.is_ours(START_SECONDS):
            yield False
            return
        thread = threading.Thread(target=keep, name=f"lock {name}", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            ended.set()
            thread.join()


def named_error(error: Exception, text: str | None = None) -> sqlite3.Error:
    """Return the error of :mod:`sqlite3` that means the same, in one line without a password; ``text`` replaces its
    message."""
    import psycopg2

    code = getattr(error, "pgcode", None)
    message = one_line(str(error).partition("\nCONTEXT:")[0])
    kind: type[sqlite3.Error] = sqlite3.DatabaseError
    if code == _LOCKED:
        kind, text = sqlite3.OperationalError, _BUSY
    elif isinstance(error, psycopg2.IntegrityError | psycopg2.errors.RaiseException):
        kind = sqlite3.IntegrityError
    elif isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        kind = sqlite3.OperationalError
    if kind is not sqlite3.IntegrityError:  # whose message quotes values
        text = text or refusal(message)
    found = kind(text or message)
    if code in _FULL:
        found.sqlite_errorcode = sqlite3.SQLITE_FULL
    return found


def _open(words: str, seconds: float) -> Any:
    """Open a connection in which each statement is its own transaction; while the server does not answer or restarts,
    try again for ``seconds``, at most :data:`AWAY_SECONDS` or :data:`START_SECONDS`.

    Raises:
        sqlite3.OperationalError: it does not answer, or refuses the connection.
    """
    try:
        import psycopg2
    except ImportError:
        raise sqlite3.OperationalError(_MISSING) from None
    began = time.monotonic()
    while True:
        try:
            opened = psycopg2.connect(words)
            break
        except psycopg2.Error as error:
            found = named_error(error)
            if refusal(str(found)):
                raise sqlite3.OperationalError(str(found)) from None
            if "FATAL" in str(found) and not _PASSING.search(str(found)):
                raise sqlite3.OperationalError(f"PostgreSQL refuses the connection. ({found})") from None
            longest = START_SECONDS if _STARTS in str(found) else AWAY_SECONDS
            if time.monotonic() >= began + min(seconds, longest):
                raise sqlite3.OperationalError(f"PostgreSQL does not answer. ({found})") from None
        time.sleep(_PAUSE_SECONDS)
    opened.autocommit = True
    # A sum of integers is NUMERIC in PostgreSQL, and an integer in SQLite.
    number = psycopg2.extensions.new_type((1700,), "NUMBER", lambda text, _: _number(text))
    psycopg2.extensions.register_type(number, opened)
    return opened


def _number(text: str | None) -> int | float | None:
    if text is None:
        return None
    return float(text) if "." in text else int(text)


def storable(value: Any) -> Any:
    """Return a parameter as SQLite would store it; PostgreSQL's text has no character of the number 0."""
    if isinstance(value, bool):
        return int(value)
    return str.__str__(value).replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _recorded(name: str) -> str:
    """Return the statements that record that the ledger ``name`` has existed; they belong into one transaction.

    Its lock is needed because two connections that create the same schema at once get an error.
    """
    return (
        f"SELECT pg_advisory_xact_lock({_key(KNOWN)}); CREATE SCHEMA IF NOT EXISTS {KNOWN_SCHEMA}; "
        f"CREATE TABLE IF NOT EXISTS {KNOWN} (name TEXT PRIMARY KEY); "
        f"INSERT INTO {KNOWN} VALUES ('{name}') ON CONFLICT DO NOTHING"
    )


def _key(name: str) -> int:
    """Return the number of the advisory lock ``name``."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
