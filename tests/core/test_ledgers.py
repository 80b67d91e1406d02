"""Promises of every ledger, whether it is a file or in PostgreSQL."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from postgres import PASSWORD, Postgres

from bizcharts_pipeline.core import ledgers, postgres
from bizcharts_pipeline.core.ledgers import (
    alive,
    connect,
    exclusive,
    is_alive,
    is_known,
    is_lost,
    keep_in_postgres,
    transaction,
    upgrade,
)
from bizcharts_pipeline.settings import postgres_words

STEPS = (
    """
    CREATE TABLE entries (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE, size REAL, seen INTEGER);  -- of a test
    CREATE TABLE sums (word TEXT PRIMARY KEY, total INTEGER NOT NULL);
    CREATE TRIGGER adds AFTER INSERT ON entries BEGIN
        INSERT INTO sums VALUES (new.word, new.seen)
        ON CONFLICT (word) DO UPDATE SET total = sums.total + excluded.total;
    END;
    CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
    BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
    """,
    "ALTER TABLE entries ADD COLUMN note TEXT;",
)
WORKER = """
import sys
from contextlib import closing
from pathlib import Path
from bizcharts_pipeline.core.ledgers import connect, keep_in_postgres, transaction, upgrade
path, words, name, times = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
if words:
    keep_in_postgres(path.parent.parent, words)
print("ready", flush=True)
sys.stdin.readline()
for number in range(times):
    with closing(connect(path)) as connection, transaction(connection):
        (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        connection.execute("INSERT INTO entries (word, seen) VALUES (?, ?)", (f"{name} {number}", count))
    print(number, flush=True)
"""
CREATOR = """
import sys
from contextlib import closing
from pathlib import Path
from bizcharts_pipeline.core.ledgers import connect, keep_in_postgres, upgrade
home = Path(sys.argv[1])
keep_in_postgres(home, sys.argv[2])
for number in range(40):
    with closing(connect(home / "ledgers" / f"ledger{number}.sqlite")) as connection:
        assert upgrade(connection, ["CREATE TABLE entries (id INTEGER PRIMARY KEY);"])
"""


def ledger(home: Path, steps: Sequence[str] = STEPS) -> Path:
    path = home / "ledgers" / "words.sqlite"
    with closing(connect(path)) as connection:
        assert upgrade(connection, steps)
    return path


def words_of(path: Path) -> str:
    return ledgers._server(path) or ""


def workers(path: Path, times: int, *names: str) -> list[subprocess.Popen[str]]:
    """Processes that each append, in transactions, rows with the number of rows before them."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), words_of(path), name, str(times)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for each in started:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in started:
        assert each.stdin
        each.stdin.write("\n")
        each.stdin.flush()
    return started


def test_what_is_written_comes_back_and_counts_and_sums_are_integers(home: Path) -> None:
    path = ledger(home)
    rows = [("ä 'q' %s :name ?", 0.1 + 0.2, True, None), ("B", -1e-300, 2**62, "x"), ("a", None, False, "")]
    with closing(connect(path)) as connection:
        with transaction(connection):
            insert = "INSERT INTO entries (word, size, seen, note) VALUES (?, ?, ?, ?)"
            assert connection.execute_for_each(insert, rows) == 3
            assert connection.execute_for_each(f"{insert} ON CONFLICT (word) DO NOTHING", rows[:1]) == 0
            again = connection.execute(f"{insert} RETURNING id", ("last", 1, 1, "y")).fetchone()
        found = connection.execute("SELECT word, size, seen, note FROM entries ORDER BY word").fetchall()
        assert found == [("B", -1e-300, 2**62, "x"), ("a", None, 0, ""), ("last", 1.0, 1, "y"), (*rows[0][:2], 1, None)]
        total = connection.execute("SELECT sum(total), count(*) FROM sums WHERE :x IS NULL OR word = :x", {"x": None})
        assert repr(total.fetchone()) == f"({2**62 + 2}, 4)"
        assert connection.execute("SELECT max(id) FROM entries").fetchone() == again


def test_a_transaction_is_written_whole_or_not_at_all(home: Path) -> None:
    path = ledger(home)
    with closing(connect(path)) as connection:
        insert = "INSERT INTO entries (word, seen) VALUES (?, 1)"
        for words in (("first", "first"), ("first", object())):
            with pytest.raises(Exception, match=r"(?i)unique|type|adapt"), transaction(connection):
                connection.execute_for_each(insert, [(word,) for word in words])
        with transaction(connection):
            connection.execute("INSERT INTO entries (word, seen) VALUES ('taken back', 1)")
            connection.rollback()
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (0,)
        with transaction(connection):
            connection.execute("INSERT INTO entries (word, seen) VALUES ('kept', 1)")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM entries")
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT word, total FROM sums").fetchall() == [("kept", 1)]


def test_processes_take_turns_and_each_sees_what_the_others_wrote(home: Path) -> None:
    path = ledger(home)
    for process in workers(path, 20, "a", "b", "c"):
        process.communicate(timeout=60)
    with closing(connect(path)) as connection:
        seen = [row[0] for row in connection.execute("SELECT seen FROM entries ORDER BY id")]
    assert seen == list(range(60))


def test_a_killed_process_loses_nothing_that_it_reported_and_holds_nobody_up(home: Path) -> None:
    path = ledger(home)
    killed, other = workers(path, 10_000, "killed", "other")
    assert killed.stdout
    assert other.stdout
    reported = [next(killed.stdout) for _ in range(20)]
    killed.kill()
    reported += killed.stdout.readlines()
    for _ in range(20):
        other.stdout.readline()
    other.kill()
    other.communicate()
    with closing(connect(path)) as connection:
        written = {row[0] for row in connection.execute("SELECT word FROM entries")}
        assert written >= {f"killed {number.strip()}" for number in reported}
        with transaction(connection):
            pass


def test_one_that_writes_for_longer_than_another_waits_is_named_and_a_newer_ledger_is_left_alone(home: Path) -> None:
    path = ledger(home)
    with closing(connect(path)) as holder, closing(connect(path, 0.2)) as other:
        with transaction(holder), pytest.raises(sqlite3.OperationalError, match=r"locked|is writing to it"):
            other.begin()
        with transaction(other):
            other.version = 9
        assert not upgrade(holder, STEPS)


def test_a_ledger_of_the_first_version_gets_the_later_steps_only_once(home: Path) -> None:
    path = ledger(home, STEPS[:1])
    assert is_known(path)
    with closing(connect(path)) as one, closing(connect(path)) as other:
        assert upgrade(one, STEPS)
        assert upgrade(other, STEPS)
        assert one.columns("entries") == ["id", "word", "size", "seen", "note"]


def test_runs_and_locks_are_known_to_all_until_their_process_ends(home: Path) -> None:
    folder = home / "ledgers" / "words.runs"
    assert not is_known(home / "ledgers" / "words.sqlite")
    with alive(folder, "1"), exclusive(home / "pods" / "k" / "lock") as first:
        assert is_alive(folder, "1")
        assert not is_alive(folder, "2")
        with exclusive(home / "pods" / "k" / "lock") as second, exclusive(home / "pods" / "l" / "lock") as other:
            assert (first, second, other) == (True, False, True)
            assert not busy_elsewhere(home, home.parent / "elsewhere" / "data", "pods/m/lock")
            assert busy_elsewhere(home, home.parent / "elsewhere" / "data", "pods/k/lock") == (home in ledgers._servers)
    assert not is_alive(folder, "1")


def busy_elsewhere(home: Path, other: Path, name: str) -> bool:
    """Whether another machine, whose home is in another place, finds a lock taken."""
    keep_in_postgres(other, ledgers._servers.get(home))
    try:
        with exclusive(other / name) as is_free:
            return not is_free
    finally:
        keep_in_postgres(other, None)


@pytest.fixture
def shared(postgres: Postgres, tmp_path: Path) -> Path:
    """A ledger in PostgreSQL."""
    keep_in_postgres(tmp_path / "home", postgres_words(postgres.new_lake()))
    return ledger(tmp_path / "home")


def test_a_server_that_is_killed_loses_nothing_reported_and_its_clients_go_on_after_its_restart(
    shared: Path, postgres: Postgres
) -> None:
    (worker,) = workers(shared, 10_000, "a")
    assert worker.stdout
    reported = [next(worker.stdout) for _ in range(20)]
    with closing(connect(shared)) as connection:
        connection.begin()
        connection.execute("INSERT INTO entries (word, seen) VALUES ('unfinished', 0)")
        postgres.kill()
        with pytest.raises(sqlite3.OperationalError, match=r"lost.*nothing was written|not known whether"):
            connection.commit()
        assert not connection.in_transaction
    reported += worker.stdout.readlines()  # its connection is lost too
    postgres.start()
    with closing(connect(shared)) as connection:
        written = [row[0] for row in connection.execute("SELECT word FROM entries ORDER BY id")]
        assert {f"a {number.strip()}" for number in reported} <= set(written)
        assert len(written) <= len(reported) + 1  # the commit whose answer was lost
        assert "unfinished" not in written
        with transaction(connection):
            connection.execute("INSERT INTO entries (word, seen) VALUES ('after', 0)")


def test_opening_waits_for_a_server_that_restarts(shared: Path, postgres: Postgres) -> None:
    postgres.kill()
    (opener,) = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(shared), words_of(shared), "late", "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    ]
    assert opener.stdin
    opener.stdin.write("\n")
    opener.stdin.flush()
    time.sleep(1)
    postgres.start()
    assert opener.communicate(timeout=60)[0] == "ready\n0\n"


def test_a_lost_ledger_and_one_that_was_not_moved_are_never_begun_anew(shared: Path, postgres: Postgres) -> None:
    words = words_of(shared)
    with closing(postgres_connection(words)) as connection:
        connection.drop()
    assert is_known(shared)
    assert is_lost(shared)
    with pytest.raises(sqlite3.DatabaseError, match="Restore PostgreSQL's dump"):
        connect(shared)
    ledgers.forget(shared)
    home = shared.parent.parent
    keep_in_postgres(home, None)
    ledger(home)
    keep_in_postgres(home, words)
    assert is_known(shared)
    with pytest.raises(sqlite3.DatabaseError, match="migrate --to"):
        connect(shared)


def test_a_ledger_that_one_machine_lost_is_lost_on_all_and_none_begins_it_anew_by_itself(
    shared: Path, postgres: Postgres
) -> None:
    """Also one that was only created, and never opened again; and one from before its existence was recorded."""
    words, other = words_of(shared), shared.parents[2] / "other" / "home"
    elsewhere = other / "ledgers" / shared.name
    keep_in_postgres(other, words)
    try:
        for recorded in (True, False):
            if not recorded:
                query(postgres, words, "DROP SCHEMA bizcharts_ledgers CASCADE")
                connect(shared).close()
            query(postgres, words, "DROP SCHEMA words CASCADE")
            for path in (elsewhere, shared):
                assert is_known(path)
                assert is_lost(path)
                with pytest.raises(sqlite3.DatabaseError, match=r"DELETE FROM bizcharts_ledgers\.known"):
                    connect(path)
                assert "words in PostgreSQL" in ledgers.missing_ledgers(path.parents[1])[0]
            ledgers.forget(elsewhere)
            assert not is_known(elsewhere)
            ledger(other)
            assert ledgers.missing_ledgers(other) == []
            connect(shared).close()
    finally:
        keep_in_postgres(other, None)


@pytest.mark.slow
def test_machines_that_create_a_ledger_at_once_do_not_take_it_for_lost(postgres: Postgres, tmp_path: Path) -> None:
    words = postgres_words(postgres.new_lake())
    started = [
        subprocess.Popen([sys.executable, "-c", CREATOR, str(tmp_path / name), words], stdout=subprocess.PIPE)
        for name in ("a", "b", "c")
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]


def query(server: Postgres, words: str, sql: str) -> None:
    found = re.search(r"dbname=(\w+)", words)
    assert found
    server.query(sql, found[1])


def postgres_connection(words: str, seconds: float = 5) -> postgres.PostgresConnection:
    return postgres.connect(words, "words", seconds)


def test_a_database_that_is_not_there_and_a_server_that_is_full_are_named(postgres: Postgres) -> None:
    with pytest.raises(sqlite3.OperationalError, match=r'missing in PostgreSQL.*"nowhere" does not exist'):
        postgres_connection(postgres_words(postgres.address("nowhere")))
    postgres.query("CREATE ROLE single LOGIN CONNECTION LIMIT 1")
    words = postgres_words(postgres.address("postgres", "single"))
    with closing(postgres_connection(words)), pytest.raises(sqlite3.OperationalError, match="too many connections"):
        postgres_connection(words, 0.3)


def test_a_right_that_is_missing_and_the_writer_that_is_in_the_way_are_named(shared: Path, postgres: Postgres) -> None:
    words = words_of(shared)
    postgres.query("CREATE ROLE powerless LOGIN")
    query(postgres, words, "GRANT USAGE ON SCHEMA words TO powerless")
    with (
        closing(postgres_connection(words.replace("user=postgres", "user=powerless"))) as powerless,
        pytest.raises(sqlite3.Error, match=r"lacks a right.*permission denied for table entries"),
    ):
        powerless.execute("SELECT * FROM entries")
    with closing(connect(shared)) as writer, closing(connect(shared, 0.1)) as other, transaction(writer):
        with pytest.raises(
            sqlite3.OperationalError, match=f"bizcharts {socket.gethostname()} {os.getpid()} is writing"
        ):
            other.begin()
        assert not other.in_transaction


def test_no_password_is_in_an_error_and_a_refused_one_says_what_to_do(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = postgres_words(postgres.address("postgres", "guarded"))
    monkeypatch.setenv("PGPASSWORD", f"not {PASSWORD}")
    with pytest.raises(sqlite3.OperationalError, match="set PGPASSWORD") as caught:
        postgres_connection(words)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    postgres_connection(words).close()


def test_a_connection_that_does_nothing_within_a_transaction_is_ended_by_the_server(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FROZEN_SECONDS", 1)
    with closing(connect(shared)) as frozen, closing(connect(shared, 30)) as other:
        frozen.begin()
        with transaction(other):
            pass
        with pytest.raises(sqlite3.OperationalError, match="nothing was written"):
            frozen.execute("INSERT INTO entries (word, seen) VALUES ('late', 0)")
