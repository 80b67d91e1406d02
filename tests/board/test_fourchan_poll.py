"""The client against a server that replays the real captures with their real headers."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from bizcharts_pipeline.board import client as fourchan
from bizcharts_pipeline.board.client import FourchanClient, parse_catalog
from bizcharts_pipeline.board.spool import Spool
from bizcharts_pipeline.demo.board.server import ReplayBoard
from bizcharts_pipeline.http.errors import SourceNotFound
from bizcharts_pipeline.http.session import PoliteSession, Timeouts

NOW = datetime(2026, 1, 1)
DATE_1, DATE_2 = "Fri, 02 May 2014 18:55:59 GMT", "Fri, 02 May 2014 18:57:42 GMT"


def client_of(board: ReplayBoard, home: Path, name: str = "g") -> FourchanClient:
    quick = Timeouts(total=5, back_off=0.01)
    session = PoliteSession(0, validators=home / "http", rate_folder=home, timeouts=quick)
    return FourchanClient(session, board.url, board.url, name)


def test_the_recorded_minutes_are_polled_as_the_recorder_did(shared_data: Path, tmp_path: Path) -> None:
    captures = shared_data / "4chan_api"
    exchanges = [json.loads(line) for line in (captures / "http_exchanges_2014.jsonl").read_text().splitlines()]
    served = [each["response_headers"]["last-modified"] for each in exchanges if each["url"].endswith("g/catalog.json")]
    assert {DATE_1, DATE_2} <= set(served)
    first = (captures / "g_catalog_2014-05-02T185604Z.json").read_bytes()
    second = (captures / "g_catalog_2014-05-02T185755Z.json").read_bytes()
    with ReplayBoard([(first, DATE_1), (first, DATE_1), (second, DATE_2)], board="g") as board:
        client = client_of(board, tmp_path)
        polls = []
        for _ in range(3):
            polls.append(client.poll_catalog(NOW))
            client.remember(polls[-1])
    assert [(poll.status, poll.body) for poll in polls] == [(200, first), (304, b""), (200, second)]
    assert [poll.last_modified for poll in polls] == [
        datetime(2014, 5, 2, 18, 55, 59),
        datetime(2014, 5, 2, 18, 55, 59),
        datetime(2014, 5, 2, 18, 57, 42),
    ]
    assert [request.if_modified_since for request in board.requests] == [None, DATE_1, DATE_1]
    assert len(parse_catalog(polls[2].body, board="g", image_url=board.url).threads) == 150


@pytest.mark.parametrize("killed", ["before the spool", "before remember"])
@pytest.mark.fault("SIGKILL", stage="poll", expected="the next poll fetches the catalogue whole")
def test_a_run_killed_between_fetch_and_remember_loses_nothing(tmp_path: Path, killed: str) -> None:
    script = (
        "import os, sys; from datetime import datetime; from pathlib import Path\n"
        "from bizcharts_pipeline.board.client import FourchanClient\n"
        "from bizcharts_pipeline.http.session import PoliteSession\n"
        "from bizcharts_pipeline.board.spool import Spool\n"
        "home = Path(sys.argv[2])\n"
        "session = PoliteSession(0, validators=home / 'http', rate_folder=home)\n"
        "client = FourchanClient(session, sys.argv[1], sys.argv[1], 'g')\n"
        "poll = client.poll_catalog(datetime(2026, 1, 1))\n"
        "if sys.argv[3] == 'before the spool': os.kill(os.getpid(), 9)\n"
        "Spool(home / 'spool').put(poll)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    body = b'[{"page":1,"threads":[]}]'
    with ReplayBoard([(body, DATE_1)], board="g") as board:
        command = [sys.executable, "-c", script, board.url, str(tmp_path), killed]
        assert subprocess.run(command, timeout=60).returncode == -9
        poll = client_of(board, tmp_path).poll_catalog(NOW)
    assert (poll.status, poll.body) == (200, body)
    spool = Spool(tmp_path / "spool")
    assert [spool.read(path).body for path in spool.pending()] == ([] if killed == "before the spool" else [body])


def test_a_catalogue_that_proved_unusable_is_fetched_whole_again(tmp_path: Path) -> None:
    with ReplayBoard([(b"[]", DATE_1)], board="g") as board:
        board.fail_next("malformed")
        client = client_of(board, tmp_path)
        client.remember(client.poll_catalog(NOW))
        assert client.poll_catalog(NOW).status == 304
        client.forget()
        assert client.poll_catalog(NOW).body == b"[]"


@pytest.mark.parametrize(("took", "counted"), [(0.9, 0), (1.5, 1.5), (89.0, 89)])
def test_an_answer_that_was_long_in_coming_is_dated_when_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, counted: float
) -> None:
    clock = iter([1000.0, 1000.0 + took])
    monkeypatch.setattr(fourchan, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with ReplayBoard([(b"[]", DATE_1)], board="g") as board:
        assert client_of(board, tmp_path).poll_catalog(NOW).fetched_at == NOW + timedelta(seconds=counted)


def test_a_missing_board_has_its_own_error(tmp_path: Path) -> None:
    with (
        ReplayBoard([(b"[]", DATE_1)], board="g") as board,
        pytest.raises(SourceNotFound, match="BIZCHARTS_BOARD"),
    ):
        client_of(board, tmp_path, "nosuch").poll_catalog(NOW)
