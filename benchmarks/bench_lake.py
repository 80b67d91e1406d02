"""Cost of a lake: ticks compared with ticks on a file, and a move between the two.

Needs PostgreSQL's server and `make install-lake`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.measure import Row, ratio
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.run import fill_history
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.live import LivePipeline, run_tick
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.moving import copy_tables
from tests.postgres import Postgres, running_postgres

HISTORY_DAYS = 7
ROUNDS = 9
MANY_TICKS = 60
MILLION = 1_000_000
START = datetime(2026, 3, 2, 12, 0)
_POSTS = """
INSERT INTO thread_ops (thread_id, posted_at, source, ingested_at, text_known_at, op_text_clean, spam_score)
SELECT i, TIMESTAMP '2020-01-01' + i * INTERVAL 3 MINUTE, 'warosu', TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01',
       repeat(md5(i::VARCHAR), 8), random() FROM range({count}) AS t(i)
"""


def rows() -> Iterator[Row]:
    """Yield the figures; ticks alternate between the two."""
    with running_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        yield from _ticks(postgres, Path(folder))
        yield from _moves(postgres, Path(folder))


def _ticks(postgres: Postgres, folder: Path) -> Iterator[Row]:
    world = World(3, START - timedelta(days=HISTORY_DAYS), HISTORY_DAYS + 1)
    addresses = {"file": "", "lake": postgres.new_lake()}
    with ExitStack() as boards:
        tick: dict[str, Callable[[], float]] = {}
        lake: Database | None = None
        for kind, address in addresses.items():
            board = boards.enter_context(SimulatedBoard(world, now=START))
            settings = load_settings(
                home=folder / kind, database=address, fourchan_api_url=board.url, fourchan_seconds_per_request=0
            )
            pipeline = LivePipeline.from_settings(settings)
            fill_history(world, pipeline, START - timedelta(hours=1))
            run_tick(pipeline, START, everything=True)
            tick[kind] = _timed(pipeline, board)
            lake = pipeline.database
        assert lake
        seconds = {kind: [] for kind in addresses}  # type: dict[str, list[float]]
        for _ in range(ROUNDS):
            for kind, run in tick.items():
                seconds[kind].append(run())
        note = f"{HISTORY_DAYS} days of history, {ROUNDS} alternated ticks, {min(seconds['lake']):.2f} to "
        note += f"{max(seconds['lake']):.2f} s; over one on a file, {median(seconds['file']):.2f} s"
        over = ratio(seconds["lake"], seconds["file"])
        yield "a tick on a lake, in a process that lives on", median(seconds["lake"]), "s", note, over
        later = [tick["lake"]() for _ in range(MANY_TICKS)][-ROUNDS:]
        yield f"the same after {MANY_TICKS} more, without maintenance", median(later), "s", "each write adds files"
        started = time.perf_counter()
        done = lake.compact()
        taken = time.perf_counter() - started
        yield "maintenance of the lake then", taken, "s", f"{done.bytes_before / 1e6:.1f} MB of files"
        after = [tick["lake"]() for _ in range(ROUNDS)]
        yield "a tick after it", median(after), "s", ""


def _timed(pipeline: LivePipeline, board: SimulatedBoard) -> Callable[[], float]:
    def run() -> float:
        board.now += timedelta(minutes=1)
        started = time.perf_counter()
        run_tick(pipeline, board.now)
        return time.perf_counter() - started

    return run


def _moves(postgres: Postgres, folder: Path) -> Iterator[Row]:
    file = Database.named(str(folder / "source" / "posts.duckdb"), folder / "source", 60)
    lake = Database.named(postgres.new_lake(), folder / "moved", 60)
    back = Database.named(str(folder / "back" / "posts.duckdb"), folder / "back", 60)
    (folder / "back").mkdir()
    file.prepare()
    with file.write() as connection:
        connection.execute(_POSTS.format(count=MILLION))
    for what, source, target in (("to a lake", file, lake), ("back to a file", lake, back)):
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            started = time.perf_counter()
            with source.held(Path(draft), ()) as held:
                copy_tables(held.connection, target, Path(draft))
            taken = time.perf_counter() - started
        yield f"moving a million posts {what}", taken, "s", f"{target.bytes_used() / 1e6:,.0f} MB there"
