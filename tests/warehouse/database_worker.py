"""A process of its own that uses a database as the tests ask: ``database_worker.py MODE NAME …``."""

import resource
import sys
import time
from itertools import count
from pathlib import Path

import duckdb

from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseError

PAIR = "INSERT INTO thread_observations (thread_id, seen_at, reply_count) SELECT {id}, now()::TIMESTAMP, {count}"


def say(text: str) -> None:
    print(text, flush=True)


def write_pairs(database: Database, worker: int, times: int) -> None:
    for number in range(times):
        with database.write() as connection:
            count = worker * 1000 + number
            connection.execute(PAIR.format(id=worker, count=count))
            connection.execute(PAIR.format(id=worker, count=-count))
            connection.execute("UPDATE warosu_days SET rows = rows + 1")


def read_pairs(database: Database, times: int) -> None:
    for _ in range(times):
        with database.read() as connection:
            rows, total = connection.execute(
                "SELECT count(*), coalesce(sum(reply_count), 0) FROM thread_observations"
            ).fetchall()[0]
        if rows % 2 or total:
            say(f"half a batch: {rows} rows, sum {total}")


def write_batches_for_ever(database: Database) -> None:
    say("writing")
    while True:
        with database.write() as connection:
            for half in (1, -1):
                connection.execute(
                    "INSERT INTO thread_observations (thread_id, seen_at, reply_count) "
                    f"SELECT i, now()::TIMESTAMP, {half} FROM range(5000) AS t(i)"
                )


def stop_in_the_middle(database: Database) -> None:
    with database.write() as connection:
        connection.execute(PAIR.format(id=1, count=1))
        say("half")
        time.sleep(600)


def write_numbers_for_ever(database: Database, first: int, stored: Path, refused: Path) -> None:
    """Write numbers from ``first`` on, one in each transaction, and note in which file each belongs. The transaction
    also sets the row of ``-first`` to the number, so that a file loses a row again and again.
    """
    for number in count(first):
        try:
            with database.write() as connection:
                connection.execute(PAIR.format(id=number, count=1))
                if number == first:
                    connection.execute(PAIR.format(id=-first, count=number))
                connection.execute(f"UPDATE thread_observations SET reply_count = {number} WHERE thread_id = {-first}")
            outcome = stored
        except DatabaseError:
            outcome = refused
            time.sleep(0.05)
        with outcome.open("a") as file:
            file.write(f"{number}\n")


def hold_as_a_shell_does(path: Path, seconds: float, read_only: bool) -> None:
    connection = duckdb.connect(str(path), read_only=read_only)
    say("held")
    time.sleep(seconds)
    connection.close()


def run_into_a_full_disk(database: Database, rows: int, room: int) -> None:
    """Insert ``rows`` while the file may grow by ``room`` bytes."""
    limit = database.bytes_used() + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        with database.write() as connection:
            connection.execute(
                "INSERT INTO thread_observations (thread_id, seen_at) "
                f"SELECT hash(i) // 4, now()::TIMESTAMP FROM range({rows}) AS t(i)"
            )
    except DatabaseError as error:
        say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    mode, name, *rest = sys.argv[1:]
    database = Database.named(name, None, 60)
    match mode:
        case "write":
            write_pairs(database, int(rest[0]), int(rest[1]))
        case "read":
            read_pairs(database, int(rest[0]))
        case "batches":
            write_batches_for_ever(database)
        case "numbers":
            write_numbers_for_ever(database, int(rest[0]), Path(rest[1]), Path(rest[2]))
        case "half":
            stop_in_the_middle(database)
        case "hold":
            hold_as_a_shell_does(Path(name), float(rest[0]), rest[1] == "read")
        case "full":
            run_into_a_full_disk(database, int(rest[0]), int(rest[1]))
