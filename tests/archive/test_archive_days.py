"""A day of the archive: all of it, once, with its true times, or a reason why not."""

import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archive_world import NOW, START, reader_of, reading

from bizcharts_pipeline.archive.days import DayNotOver, IncompleteDay
from bizcharts_pipeline.archive.errors import ArchiveFormatError
from bizcharts_pipeline.archive.patience import PAUSES, ArchiveBlocked
from bizcharts_pipeline.demo.archive.posts import Quirks
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

DAY = timedelta(days=1)
MIDDLE = START + 5 * DAY  # 2 November 2025, a day of 25 hours in New York


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, 12, threads_per_day=120)


def alternating(first: datetime, number: int) -> Any:
    return "ABC"[number % 3]


@pytest.mark.parametrize("generation", ["A", "B", "C", alternating], ids=["A", "B", "C", "mixed"])
@pytest.mark.parametrize("clock", ["America/New_York", "UTC"])
def test_every_opening_post_of_a_day_comes_once_with_its_time(
    world: World, tmp_path: Path, generation: Any, clock: str
) -> None:
    with reading(world, tmp_path, generation=generation, clock=clock, duplicate_every=2) as reader:
        report = reader.take(MIDDLE)
        assert reader.stored() == reader.truth(MIDDLE)
        assert reader.days() == [(MIDDLE.date(), len(reader.truth(MIDDLE)), True)]
        assert report.problems == ()
        asked = len(reader.server.requests)  # one of them for the newest post of all, where the day's own do not tell
        assert asked - 1 <= report.pages <= asked < 2 * 120 / 24 + 5


def test_times_that_are_hours_wrong_are_set_right_also_without_a_picture(world: World, tmp_path: Path) -> None:
    quirks = Quirks(wrong_times_before=MIDDLE + timedelta(hours=14), removed_files=0.1)
    with reading(world, tmp_path, quirks=quirks) as reader:
        for day in (MIDDLE - DAY, MIDDLE, MIDDLE + DAY):
            reader.take(day)
        truth = reader.truth(MIDDLE - DAY) | reader.truth(MIDDLE) | reader.truth(MIDDLE + DAY)
        assert reader.stored() == truth


@pytest.mark.parametrize("order", ["thread", "bump"])
def test_where_the_search_finds_nothing_without_words_the_index_is_walked(
    world: World, tmp_path: Path, order: str
) -> None:
    # The index counts a ghost among the replies that it leaves out.
    with reading(world, tmp_path, empty_text_finds_nothing=True, order=order, quirks=Quirks(ghosts=0)) as reader:
        report = reader.take(START + 3 * DAY)
        assert report.method == "index"
        assert reader.stored() == reader.truth(START + 3 * DAY)
        with reader.database.read() as connection:
            counts = dict(connection.execute("SELECT thread_id, archive_reply_count FROM thread_ops").fetchall())
        assert counts == {number: reader.server.replies(number) for number in counts}


@pytest.mark.slow
def test_a_day_of_more_matches_than_the_archive_gives_is_taken_from_both_sides(tmp_path: Path) -> None:
    crowded = World(6, START, 3, threads_per_day=4000)
    with reading(crowded, tmp_path, now=START + 3 * DAY, generation="B") as reader:
        reader.take(START + DAY, now=START + 3 * DAY)
        assert len(reader.stored()) > 3500
        assert reader.stored() == reader.truth(START + DAY)


def test_a_day_without_posts_is_complete_and_empty(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        reader.take(START - 10 * DAY)
        assert reader.days() == [((START - 10 * DAY).date(), 0, True)]


def test_a_day_that_the_archive_has_not_finished_is_stored_but_not_complete(world: World, tmp_path: Path) -> None:
    noon = MIDDLE + timedelta(hours=12)
    with reading(world, tmp_path, now=noon) as reader:
        with pytest.raises(IncompleteDay, match="no posts after"):
            reader.take(MIDDLE, now=MIDDLE + DAY)
        assert reader.stored() == reader.truth(MIDDLE)
        assert [row[2] for row in reader.days()] == [False]
        reader.server.now = MIDDLE + 2 * DAY
        reader.take(MIDDLE, now=MIDDLE + 2 * DAY)
        assert reader.stored() == reader.truth(MIDDLE)
        assert [row[2] for row in reader.days()] == [True]


def test_a_day_that_still_runs_is_refused(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader, pytest.raises(DayNotOver, match="not ended yet"):
        reader.take(MIDDLE, now=MIDDLE + timedelta(hours=23))


PASSING = [
    Fault.CLOUDFLARE_BLOCK,
    Fault.CLOUDFLARE_LIMIT,
    Fault.CLOUDFLARE_CHALLENGE,
    Fault.CLOUDFLARE_SILENT,
    Fault.FUUKA_ERROR,
    Fault.NEW_LAYOUT,
    Fault.EMPTY,
    Fault.SERVER_ERROR,
    Fault.RESET,
    Fault.TRUNCATED,
    Fault.TRUNCATED_GZIP,
]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.fault("dropped network", stage="archive import", expected="a passing fault costs nothing and no posts")
def test_a_passing_fault_costs_nothing_and_is_never_taken_for_no_results(
    world: World, tmp_path: Path, fault: Fault
) -> None:
    with reading(world, tmp_path) as reader:
        reader.server.fail_next(fault)
        reader.take(MIDDLE)
        assert reader.stored() == reader.truth(MIDDLE)


@pytest.mark.parametrize(
    ("fault", "error", "kept"),
    [
        (Fault.CLOUDFLARE_BLOCK, ArchiveBlocked, 1),
        (Fault.CLOUDFLARE_SILENT, ArchiveBlocked, 1),
        (Fault.NEW_LAYOUT, ArchiveFormatError, 1),
        (Fault.FUUKA_ERROR, ArchiveBlocked, 1),
        (Fault.RESET, ArchiveBlocked, 0),
    ],
)
def test_a_lasting_fault_fails_the_day_by_name_stores_nothing_and_keeps_the_page(
    world: World, tmp_path: Path, fault: Fault, error: type[Exception], kept: int
) -> None:
    with reading(world, tmp_path) as reader:
        reader.server.fail_every, reader.server.fail_with = 1, fault
        with pytest.raises(error):
            reader.take(MIDDLE)
        assert len(reader.server.requests) <= len(PAUSES) + 1
        assert (reader.stored(), reader.days()) == ({}, [])
        assert len(list((tmp_path / "spool" / "warosu" / "rejected").glob("*.html.gz"))) == kept


@pytest.mark.fault("dropped network", stage="archive import", expected="after repeated refusals all processes pause")
def test_after_repeated_refusals_nobody_asks_for_a_while(world: World, tmp_path: Path) -> None:
    with SimulatedArchive(world, now=NOW) as server:
        reader = reader_of(server, tmp_path, seconds=0.001)
        server.fail_every, server.fail_with = 1, Fault.CLOUDFLARE_BLOCK
        with pytest.raises(ArchiveBlocked):
            reader.take(MIDDLE)
        asked, stopped = len(server.requests), server.requests[-1].at
        server.fail_every = None
        reader.take(MIDDLE)
        assert server.requests[asked].at - stopped >= 1.8  # 1800 intervals


def test_a_complete_day_is_not_asked_for_again_unless_told_to(world: World, tmp_path: Path) -> None:
    with reading(world, tmp_path) as reader:
        first = reader.take(MIDDLE)
        asked = len(reader.server.requests)
        assert reader.take(MIDDLE).fetched is False
        assert len(reader.server.requests) == asked
        again = reader.take(MIDDLE, again=True)
        assert (again.fetched, again.posts, again.new) == (True, first.posts, 0)


def test_a_day_that_waits_for_the_database_counts_no_kill(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[bytes] = []
    write = DatabaseFile.write

    def count(database: DatabaseFile) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        counted.extend(file.read_bytes() for file in (tmp_path / "attempts").glob("archive-day*"))
        return write(database)

    with reading(world, tmp_path) as reader:
        reader.database.migrate()
        monkeypatch.setattr(DatabaseFile, "write", count)
        reader.take(MIDDLE)
    assert counted == [b""]


READ_A_DAY = """
import sys
from datetime import date, datetime
from pathlib import Path
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.archive.days import import_day
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

url, home, day, now = sys.argv[1:]
archive = Archive(home=Path(home), board="biz", url=url, image_url=url, seconds_per_request=0.05, contact="")
database = DatabaseFile(Path(home) / "bizcharts.duckdb", 20)
import_day(archive, database, date.fromisoformat(day), datetime.fromisoformat(now))
"""


def start_reading(server: SimulatedArchive, home: Path, day: date) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", READ_A_DAY, server.url, str(home), day.isoformat(), NOW.isoformat()])


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="archive import", expected="the next run goes on at the same page")
def test_a_killed_run_goes_on_at_the_page_where_it_was(world: World, tmp_path: Path) -> None:
    with SimulatedArchive(world, now=NOW) as server:
        undisturbed = reader_of(server, tmp_path / "undisturbed")
        pages = undisturbed.take(MIDDLE).pages
        before = len(server.requests)
        kills = 3
        home = tmp_path / "killed"
        home.mkdir()
        for kill in range(1, kills + 1):
            process = start_reading(server, home, MIDDLE.date())
            deadline = time.monotonic() + 60
            while len(server.requests) < before + 2 * kill and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert start_reading(server, home, MIDDLE.date()).wait(60) == 0
        assert len(server.requests) - before <= pages + kills
        reader = reader_of(server, home)
        assert reader.stored() == undisturbed.stored()
        assert reader.days() == undisturbed.days()
        assert not list((home / "spool" / "warosu").glob("*/*.gz"))
