"""PostgreSQL is killed again and again while processes write to a lake."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from postgres import Postgres

from bizcharts_pipeline.warehouse.contents import read_contents
from bizcharts_pipeline.warehouse.lake import Lake

WORKER = Path(__file__).with_name("database_worker.py")
KILLS, WRITERS = 60, 3
MILLION = 1_000_000
SEED = "KILLS_SEED"  # of the environment, to repeat a run


@pytest.mark.acceptance
def test_sixty_kills_of_postgresql_lose_nothing_and_keep_nothing_that_was_refused(
    lake: Lake, postgres: Postgres, tmp_path: Path
) -> None:
    seed = int(os.environ.get(SEED, random.randrange(10**6)))
    print(f"{SEED}={seed}")
    chance, firsts = random.Random(seed), count(MILLION, MILLION)
    lake.migrate()
    stored, refused = tmp_path / "stored", tmp_path / "refused"

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, WORKER, "numbers", lake.name, str(next(firsts)), stored, refused]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    writers = [start() for _ in range(WRITERS)]
    try:
        for number in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.5))
            postgres.kill()
            time.sleep(chance.uniform(0, 0.3))
            postgres.start()
            if number % 7 == 3:
                chance.choice(writers).kill()
            for place, writer in enumerate(writers):
                if writer.poll() is not None:  # DuckDB ends a process whose ROLLBACK fails, too
                    writers[place] = start()
        time.sleep(5)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    with lake.write():
        pass
    with lake.read() as connection:
        read_contents(connection)
        rows = connection.execute("SELECT thread_id, reply_count FROM thread_observations").fetchall()
        extremes = connection.execute("SELECT min(thread_id), max(thread_id) FROM thread_observations").fetchall()
    found, last = [number for number, _ in rows if number > 0], {-first: number for first, number in rows if first < 0}
    assert extremes == [(-max(last), max(found))]
    assert last == {first: max(each for each in found if each // MILLION * MILLION == first) for first in last}
    assert max(Counter(found).values()) == 1
    said = set(map(int, stored.read_text().split()))
    assert said <= set(found)
    assert not set(map(int, refused.read_text().split())) & set(found)
    # A process may be killed after a commit and before it notes it.
    assert len(found) - len(said) <= next(firsts) // MILLION
