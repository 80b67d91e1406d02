"""A poll on its way in: nothing is lost, nothing is met twice, and one bad poll stops no other."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bizcharts_pipeline.board import ingest
from bizcharts_pipeline.board.ingest import PollReport, poll_catalog
from bizcharts_pipeline.core.attempts import Attempts
from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.demo.board.server import ReplayBoard
from bizcharts_pipeline.http.errors import CatalogFormatError
from bizcharts_pipeline.live import catalog_spool, fourchan_client
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import DatabaseError

NOW = datetime(2026, 3, 2, 12, 0)
MODIFIED = "Mon, 02 Mar 2026 11:59:00 GMT"


def catalogue(*threads: dict[str, Any]) -> bytes:
    return json.dumps(
        [{"page": 1, "threads": [{"time": 1772450000, "replies": 1, **thread} for thread in threads]}]
    ).encode()


@pytest.fixture
def board() -> Iterator[ReplayBoard]:
    with ReplayBoard([(catalogue({"no": 1, "com": "gm"}, {"no": 2, "time": "soon"}), MODIFIED)]) as board:
        yield board


class Home:
    def __init__(self, folder: Path, board: ReplayBoard) -> None:
        self.database = DatabaseFile(folder / "bizcharts.duckdb", 10)
        self.spool = catalog_spool(folder)
        self.client = fourchan_client(
            home=folder, board="biz", api_url=board.url, image_url=board.url, seconds_per_request=0, contact=""
        )

    def poll(self, minute: int) -> PollReport:
        return poll_catalog(self.client, self.spool, self.database, NOW + timedelta(minutes=minute))

    def posted(self) -> dict[int, datetime]:
        with self.database.read() as connection:
            return dict(connection.execute("SELECT thread_id, posted_at FROM thread_ops").fetchall())

    def rejected(self) -> list[Path]:
        return list((self.spool.folder / "rejected").glob("*.gz"))


def test_an_entry_that_can_not_be_read_is_kept_aside_and_costs_no_other(board: ReplayBoard, tmp_path: Path) -> None:
    home = Home(tmp_path, board)
    report = home.poll(0)
    assert (report.result.total_threads, len(report.problems)) == (1, 1)
    (kept,) = home.rejected()
    assert b'"soon"' in home.spool.read(kept).body
    assert home.spool.pending() == []


def test_a_thread_dated_after_its_poll_is_kept_aside_and_changes_no_stored_time(tmp_path: Path) -> None:
    def body(ahead: timedelta) -> bytes:
        threads = [{"no": 61_000_000 + number, "time": int(at.timestamp())} for number, at in enumerate(times(ahead))]
        return json.dumps([{"page": 1, "threads": threads}]).encode()

    def times(ahead: timedelta) -> list[datetime]:
        return [NOW.replace(tzinfo=UTC) - timedelta(hours=1) + shift for shift in (timedelta(0), ahead)]

    answers = [(body(timedelta(minutes=65)), None), (body(timedelta(days=40)), None)]
    with ReplayBoard(answers) as board:  # the first is within the ten minutes by which clocks may differ
        home = Home(tmp_path, board)
        assert home.poll(0).problems == ()
        stored = home.posted()
        report = home.poll(1)
    assert "thread 61000001: dated " in report.problems[0]
    assert home.posted() == stored
    assert len(home.rejected()) == 1


@pytest.mark.parametrize("what", ["noise", "a folder", "a pipe", "a link to nowhere"])
def test_what_is_no_poll_in_the_queue_is_moved_aside_and_named_and_stops_no_poll(
    board: ReplayBoard, tmp_path: Path, what: str
) -> None:
    home = Home(tmp_path, board)
    home.poll(0)
    wrong = home.spool.folder / f"{NOW:%Y%m%dT%H%M%S}.000000-00000000000000000001-00000000.poll.gz"
    if what == "noise":
        wrong.write_bytes(b"no gzip")
    elif what == "a folder":
        wrong.mkdir()
    elif what == "a pipe":
        os.mkfifo(wrong)
    else:
        wrong.symlink_to("/nowhere")
    report = home.poll(1)
    assert len(report.set_aside) == 1
    assert str(wrong) in report.set_aside[0]
    assert os.path.lexists(home.spool.folder / "rejected" / wrong.name)
    assert home.poll(2).set_aside == ()
    assert home.spool.rejected_since(0) >= 1


def test_a_lost_database_is_filled_again_although_the_source_has_nothing_new(
    board: ReplayBoard, tmp_path: Path
) -> None:
    home = Home(tmp_path, board)
    home.poll(0)
    assert home.poll(1).result.not_modified
    home.database.path.unlink()
    report = home.poll(2)
    assert (report.result.not_modified, report.result.new_threads) == (False, 1)
    assert [record.status for record in board.requests] == [200, 304, 304, 200]
    assert home.poll(3).result.not_modified


def test_a_poll_that_breaks_the_program_is_kept_aside_and_stops_no_other(
    board: ReplayBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, board)

    def broken(thread: SourceThread) -> PreparedThread:
        raise RecursionError("a rule that loops")

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read_thread", broken)
        with pytest.raises(CatalogFormatError, match="a rule that loops"):
            home.poll(0)
    assert len(home.rejected()) == 1
    assert home.poll(1).result.new_threads == 1


_POLLING = (
    "import os, sys; from datetime import datetime; from pathlib import Path\n"
    "from bizcharts_pipeline.board import ingest\n"
    "from bizcharts_pipeline.live import catalog_spool, fourchan_client\n"
    "from bizcharts_pipeline.warehouse.database_file import DatabaseFile\n"
    "home, url, now = Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])\n"
    "exec(sys.argv[4])\n"
    "client = fourchan_client("
    "home=home, board='biz', api_url=url, image_url=url, seconds_per_request=0, contact='')\n"
    "report = ingest.poll_catalog(client, catalog_spool(home), DatabaseFile(home / 'bizcharts.duckdb', 10), now)\n"
    "print(report.recovered_polls, *report.set_aside, sep='\\n')\n"
)
_POISON_KILLS = (
    "read = ingest.read_thread\n"
    "ingest.read_thread = lambda thread: os.kill(os.getpid(), 9) if thread.op_html == 'poison' else read(thread)\n"
)
_KILLED_WAITING = "DatabaseFile.write = lambda database: os.kill(os.getpid(), 9)"


@pytest.mark.slow
def test_a_poll_that_kills_two_runs_is_set_aside_by_the_third_which_stores_its_own(tmp_path: Path) -> None:
    bodies = [catalogue({"no": 1, "com": text}) for text in ("poison", "gm", "gn", "wagmi")]
    with ReplayBoard([(body, MODIFIED) for body in bodies]) as board:
        home = Home(tmp_path, board)

        def run(minute: int) -> subprocess.CompletedProcess[str]:
            now = (NOW + timedelta(minutes=minute)).isoformat()
            command = [sys.executable, "-c", _POLLING, str(tmp_path), board.url, now, _POISON_KILLS]
            done = subprocess.run(command, capture_output=True, text=True, timeout=240)
            home.client.forget()  # each run gets the whole next body
            return done

        assert [run(0).returncode, run(1).returncode] == [-9, -9]
        third = run(2)
    assert third.returncode == 0, third.stderr
    recovered, named = third.stdout.splitlines()
    assert recovered == "1"  # the poll of the second run, which never came to it
    assert "set aside, because 2 processes were killed" in named
    assert "out of memory" in third.stderr  # the log, too
    (kept,) = home.rejected()
    assert b"poison" in home.spool.read(kept).body
    assert home.spool.pending() == []
    with home.database.read() as connection:
        assert connection.execute("SELECT count(*) FROM catalog_snapshots").fetchone() == (2,)
    (finding,) = Attempts.of_home(tmp_path).set_aside()
    assert str(tmp_path / "attempts") in finding


@pytest.mark.slow
def test_a_poll_whose_runs_are_killed_while_they_wait_for_the_database_is_stored(
    board: ReplayBoard, tmp_path: Path
) -> None:
    home = Home(tmp_path, board)
    for minute in range(3):
        now = (NOW + timedelta(minutes=minute)).isoformat()
        command = [sys.executable, "-c", _POLLING, str(tmp_path), board.url, now, _KILLED_WAITING]
        assert subprocess.run(command, timeout=240).returncode == -9
    report = home.poll(3)
    assert (report.recovered_polls, report.set_aside) == (3, ())
    assert list((tmp_path / "attempts").iterdir()) == []


def test_a_catalogue_of_sixty_thousand_threads_is_refused_and_kept_and_the_next_is_stored(tmp_path: Path) -> None:
    threads = ",".join(f'{{"no":{number},"time":1772450000}}' for number in range(1, 60_001))
    huge = f'[{{"page":1,"threads":[{threads}]}}]'.encode()
    with ReplayBoard([(huge, MODIFIED), (catalogue({"no": 1, "com": "gm"}), MODIFIED)]) as board:
        home = Home(tmp_path, board)
        with pytest.raises(CatalogFormatError, match="60,000 threads"):
            home.poll(0)
        assert len(home.rejected()) == 1
        assert home.poll(1).result.new_threads == 1


def test_a_poll_waits_uncounted_for_a_database_that_is_busy(board: ReplayBoard, tmp_path: Path) -> None:
    home = Home(tmp_path, board)
    home.database = DatabaseFile(home.database.path, 0.1)
    other = DatabaseFile(home.database.path, 10)
    with other.write():
        for minute in range(3):
            with pytest.raises(DatabaseError):
                home.poll(minute)
    assert len(home.spool.pending()) == 3
    assert home.poll(4).recovered_polls == 3
