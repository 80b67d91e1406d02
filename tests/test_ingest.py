"""A poll on its way in: nothing is lost, nothing is met twice, and one bad poll stops no other."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bizcharts_pipeline import ingest
from bizcharts_pipeline.demo.board import ReplayBoard
from bizcharts_pipeline.ingest import PollReport, poll_catalog
from bizcharts_pipeline.live import catalog_spool, fourchan_client
from bizcharts_pipeline.rows import PreparedThread, SourceThread
from bizcharts_pipeline.sources.errors import CatalogFormatError
from bizcharts_pipeline.warehouse.database import Database

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
        self.database = Database(folder / "bizcharts.duckdb", 10)
        self.spool = catalog_spool(folder)
        self.client = fourchan_client(
            home=folder, board="biz", api_url=board.url, image_url=board.url, seconds_per_request=0, contact=""
        )

    def poll(self, minute: int) -> PollReport:
        return poll_catalog(self.client, self.spool, self.database, NOW + timedelta(minutes=minute))

    def rejected(self) -> list[Path]:
        return list((self.spool.folder / "rejected").glob("*.gz"))


def test_an_entry_that_can_not_be_read_is_kept_aside_and_costs_no_other(board: ReplayBoard, tmp_path: Path) -> None:
    home = Home(tmp_path, board)
    report = home.poll(0)
    assert (report.result.total_threads, len(report.problems)) == (1, 1)
    (kept,) = home.rejected()
    assert b'"soon"' in home.spool.read(kept).body
    assert home.spool.pending() == []


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
