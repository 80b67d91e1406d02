"""Random statements on a lake, of which many a commit loses its answer, beside the same on a file."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cut_commits import cutting
from postgres import Postgres

from bizcharts_pipeline.warehouse import lake as lake_module
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database

SEED, SECONDS = "CUTS_SEED", "CUTS_SECONDS"  # of the environment, to repeat a run, or for a longer one
CUT, COMPACTED = 0.4, 0.12  # shares
WRITE = """
import sys
from bizcharts_pipeline.warehouse.database import Database
with Database.named(sys.argv[1], None, 30).write() as connection:
    connection.execute(sys.argv[2])
"""
COLUMNS = {"thread_observations": "reply_count", "thread_ops": "spam_score"}
INSERTS = {
    "thread_observations": "INSERT INTO thread_observations (thread_id, seen_at, reply_count) "
    "SELECT i, TIMESTAMP '2026-03-02' + {value} * INTERVAL 1 SECOND, {value} FROM range({first}, {last}) AS t(i)",
    "thread_ops": "INSERT INTO thread_ops (thread_id, posted_at, source, ingested_at, text_known_at, op_text_clean, "
    "spam_score) SELECT i, TIMESTAMP '2020-01-01', 'warosu', TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01', "
    "'gm {value}', 0.5 FROM range({first}, {last}) AS t(i) WHERE i NOT IN (SELECT thread_id FROM thread_ops)",
}


def statement(chance: random.Random) -> str:
    table = chance.choice(["thread_observations", "thread_observations", "thread_ops"])
    first = chance.randrange(300)
    last = first + chance.choice([1, 3, 20, 100])
    match chance.choice(["insert", "insert", "update", "update", "delete", "delete", "thin"]):
        case "insert":
            return INSERTS[table].format(first=first, last=last, value=chance.randrange(1000))
        case "update":
            value = chance.choice([0.25, 1, 2])
            return f"UPDATE {table} SET {COLUMNS[table]} = {value} WHERE thread_id BETWEEN {first} AND {last}"
        case "delete":
            return f"DELETE FROM {table} WHERE thread_id BETWEEN {first} AND {last}"
    return f"DELETE FROM {table} WHERE thread_id % {chance.randrange(2, 12)} = 1"


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]
    return found


def extremes(database: Database) -> list[object]:
    with database.read() as connection:
        return [
            connection.execute(
                f"SELECT count(*), count({column}), min({column}), max({column}) FROM {table}"
            ).fetchall()
            for table, number in COLUMNS.items()
            for column in ("thread_id", number)
        ]


@pytest.mark.acceptance
@pytest.mark.fault(
    "dropped network",
    stage="database",
    expected="random writes, of which many a commit is cut, leave the rows of a file",
)
def test_a_lake_whose_commits_lose_their_answers_has_the_rows_of_a_file(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get(SEED, random.randrange(10**6)))
    print(f"{SEED}={seed}")
    chance, end, number, lost = random.Random(seed), time.monotonic() + float(os.environ.get(SECONDS, "300")), 0, 0
    upkeep = lake_module._UPKEEP
    monkeypatch.setattr(lake_module, "MIN_SMALL_FILES", 1)
    with cutting(postgres.port) as proxy:
        while time.monotonic() < end:
            number += 1
            address, home = postgres.new_lake(), tmp_path / f"home{number}"
            home.mkdir()
            lake, file = Database.named(address, home, 30), Database.named(str(home / "file.duckdb"), None, 10)
            for database in (lake, file):
                database.migrate()
            for _ in range(chance.randrange(5, 25)):
                written = "; ".join(statement(chance) for _ in range(chance.choice([1, 1, 2, 3])))
                if chance.random() < COMPACTED:
                    age = chance.choice(["0 SECOND", "24 HOUR"])
                    monkeypatch.setattr(lake_module, "_UPKEEP", [each.replace("24 HOUR", age) for each in upkeep])
                    lake.compact()
                if chance.random() < CUT:
                    proxy.commits, proxy.cut = 0, 1
                    cut_off = address.replace(f"port={postgres.port}", f"port={proxy.port}")
                    done = subprocess.run([sys.executable, "-c", WRITE, cut_off, written], capture_output=True)
                    lost += proxy.commits
                    assert bool(done.returncode) == bool(proxy.commits), "it has changed nothing, or reported an error"
                    with lake.write():
                        pass
                    if proxy.commits and contents(lake) == contents(file):
                        continue
                    # A commit that adds no file stays.
                else:
                    with lake.write() as connection:
                        connection.execute(written)
                with file.write() as connection:
                    connection.execute(written)
                assert contents(lake) == contents(file), written
            assert extremes(lake) == extremes(file)
    print(f"{number} lakes, {lost} commits lost their answers")
    assert lost
