"""Other programs at work on a database: ``neighbours.py ROLE DATABASE HOME STOP_FILE``; prints how often."""

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.rows import ScoredPost, SourceThread
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.copies import snapshot
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.scores import save_scores
from bizcharts_pipeline.warehouse.statistics import table_statistics
from bizcharts_pipeline.warehouse.threads import merge_threads

BATCH = 20
LONG_AGO = datetime(2014, 3, 1)
APART = timedelta(minutes=5)  # as on the real board
PAUSE_SECONDS = 0.5

_HALF_A_BATCH = f"SELECT count(*) % {BATCH} FROM thread_ops WHERE source = 'warosu'"
_DOUBLES = "SELECT count(*) - count(DISTINCT thread_id) FROM thread_ops"
_UNSEEN = "SELECT count(*) FROM thread_ops t ANTI JOIN thread_observations o USING (thread_id) WHERE t.source = 'live'"


def import_archive(database: Database, turn: int) -> None:
    """Write a batch of old posts."""
    numbers = range(1 + turn * BATCH, 1 + (turn + 1) * BATCH)
    posts = [read_thread(SourceThread(n, LONG_AGO + n * APART, "warosu", subject=f"{n:x}")) for n in numbers]
    with database.write() as connection:
        merge_threads(connection, posts, ingested_at=LONG_AGO, seen_at=None)


def score_by_another_model(database: Database, turn: int) -> None:
    """Write one score of a model that is nobody's champion."""
    post = ScoredPost(turn, 0.2, 0.3, 0.5, 0.3, 0.1, "other")
    with database.write() as connection:
        save_scores(connection, "other", [post], [], LONG_AGO)


def look(database: Database, turn: int) -> None:
    """Read, and be sure that nothing is doubled and no batch is there by half; now and then copy a file."""
    with database.read() as connection:
        for question in (_HALF_A_BATCH, _DOUBLES, _UNSEEN):
            answer = connection.execute(question).fetchone()
            assert answer == (0,), (question, answer)
        table_statistics(connection)
    if turn % 10 == 0 and isinstance(database, DatabaseFile):
        snapshot(database, database.path.with_name("copy.duckdb"))


ROLES: dict[str, Callable[[Database, int], None]] = {
    "import": import_archive,
    "score": score_by_another_model,
    "look": look,
}


if __name__ == "__main__":
    role, name, home, stop = sys.argv[1:]
    turns = 0
    while not Path(stop).exists():
        ROLES[role](Database.named(name, Path(home), 60), turns)
        turns += 1
        time.sleep(PAUSE_SECONDS)
    print(turns)
