"""Four machines that import the archive into one lake at once, compared with one machine.

Each machine is a process of `bizcharts import --here` with a home and a rate limiter of its own. The simulated archive
takes half a second for each answer and has no rate limit, so that waiting is what takes the time. Needs PostgreSQL's
server and `make install-lake`.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Row
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from tests.postgres import running_postgres

DAYS, THREADS_PER_DAY = 90, 40
LATENCY_SECONDS = 0.5
WORKERS = 4
START = datetime(2025, 10, 1)
NOW = START + timedelta(days=DAYS + 1)  # the last day is complete once there are posts after it
OF_A_RUN = ("schema_migrations", "warosu_days")  # hold when each row was written


def rows() -> Iterator[Row]:
    """Yield the figures."""
    world = World(3, START, DAYS + 2, threads_per_day=THREADS_PER_DAY)
    days = [START.date() + timedelta(days=number) for number in range(DAYS)]
    found: list[dict[str, Contents]] = []
    taken: list[float] = []
    with (
        running_postgres() as postgres,
        SimulatedBoard(world, now=NOW) as board,
        SimulatedArchive(world, now=NOW) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        archive.latency_seconds = LATENCY_SECONDS
        for count in (1, WORKERS):
            place, address = Path(folder) / str(count), postgres.new_lake()
            shared = {
                "BIZCHARTS_DATABASE": address,
                "BIZCHARTS_DATABASE_FILES": str(place / "lake"),
                "BIZCHARTS_WAROSU_URL": archive.url,
                "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0",
                "BIZCHARTS_FOURCHAN_API_URL": board.url,
                "BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST": "0",
                "BIZCHARTS_ARCHIVE_START": f"{START:%Y-%m-%d}",
                "BIZCHARTS_NOW": NOW.isoformat(),
            }
            (place / "home").mkdir(parents=True)
            lake = Database.configured(
                load_settings(home=place / "home", database=address, database_files=str(place / "lake"))
            )
            lake.migrate()
            asked, began, busy = len(archive.requests), time.perf_counter(), _processor_seconds()
            edges = [round(number * DAYS / count) for number in range(count + 1)]
            import_at_once(place, shared, [days[first:end] for first, end in pairwise(edges)])
            taken.append(time.perf_counter() - began)
            with lake.read() as connection:
                found.append(read_contents(connection))
            requests = len(archive.requests) - asked
            name = "one machine" if count == 1 else f"{count} machines at once"
            note = f"{DAYS} days of {THREADS_PER_DAY} threads, {requests} requests of {LATENCY_SECONDS} s each, "
            note += f"{_processor_seconds() - busy:.0f} s of processor time"
            yield f"import by {name}", taken[-1], "s", note
    same = all(found[0][table] == found[1][table] for table in found[0] if table not in OF_A_RUN)
    assert same, "the two lakes hold other posts"
    assert found[0]["thread_ops"].rows > 0.9 * DAYS * THREADS_PER_DAY
    yield "how many times as fast", taken[0] / taken[1], "", "the two lakes hold the same posts"


def _processor_seconds() -> float:
    """Processor time of the machines that have ended; without PostgreSQL's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def import_at_once(folder: Path, shared: dict[str, str], shares: Sequence[Sequence[date]]) -> None:
    """Import each share of consecutive days on a machine of its own, all at once."""
    machines = []
    for number, share in enumerate(shares):
        own = {"BIZCHARTS_HOME": str(folder / f"home {number}"), "XDG_RUNTIME_DIR": str(folder / f"run {number}")}
        (folder / f"run {number}").mkdir(mode=0o700)
        command = [sys.executable, "-c", "from bizcharts_pipeline.cli.start import main; main()", "import", "--here"]
        command += ["--from", share[0].isoformat(), "--to", share[-1].isoformat()]
        environment = {**os.environ, **shared, **own}
        machines.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    for machine in machines:
        _, said = machine.communicate()
        assert machine.returncode == 0, said.decode()
