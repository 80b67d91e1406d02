"""The promise is about processes, so there are processes; and the server's log is the judge."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from bizcharts_pipeline.demo.board.server import ReplayBoard
from bizcharts_pipeline.http.errors import RateLimitFolderUnsafe, SourceBlocked, SourceUnreachable
from bizcharts_pipeline.http.rate_limit import RateLimit, machine_folder
from bizcharts_pipeline.http.session import PoliteSession, Timeouts

GETS_IN_THREADS = """
import sys, threading
from pathlib import Path
from bizcharts_pipeline.http.session import PoliteSession

url, folder, seconds, threads, gets = sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:])

def work():
    with PoliteSession(seconds, rate_folder=folder) as session:
        for _ in range(int(gets)):
            session.get(url)

workers = [threading.Thread(target=work) for _ in range(int(threads))]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
"""


def start(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", GETS_IN_THREADS, *map(str, arguments)])


def wait_for_requests(board: ReplayBoard, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(board.requests) < count:
        assert time.monotonic() < deadline, "the other process never asked"
        time.sleep(0.01)


def test_no_two_requests_of_any_thread_or_process_start_too_close_together(tmp_path: Path) -> None:
    seconds, processes, threads, gets = 0.06, 3, 3, 3
    with ReplayBoard([(b"[]", None)]) as board:
        running = [start(board.catalog_url, tmp_path, seconds, threads, gets) for _ in range(processes)]
        assert [process.wait(60) for process in running] == [0] * processes
        arrivals = [request.at for request in board.requests]
    assert len(arrivals) == processes * threads * gets
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert min(gaps) >= seconds


def test_a_killed_process_frees_the_limit(tmp_path: Path) -> None:
    with ReplayBoard([(b"[]", None)]) as board:
        board.fail_next("hang")
        process = start(board.catalog_url, tmp_path, 0.01, 1, 1)
        wait_for_requests(board, 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with PoliteSession(0.01, rate_folder=tmp_path, timeouts=Timeouts(total=5)) as session:
            assert session.get(board.catalog_url).status == 200


def test_a_stopped_process_does_not_hold_others_beyond_their_deadline(tmp_path: Path) -> None:
    with ReplayBoard([(b"[]", None)]) as board:
        board.fail_next("hang")
        process = start(board.catalog_url, tmp_path, 0.01, 1, 1)
        try:
            wait_for_requests(board, 1)
            process.send_signal(signal.SIGSTOP)
            with (
                PoliteSession(0.01, rate_folder=tmp_path, timeouts=Timeouts(total=0.5)) as session,
                pytest.raises(SourceUnreachable, match="another process holds the lock"),
            ):
                session.get(board.catalog_url)
        finally:
            process.kill()
            process.wait()


def test_hosts_do_not_wait_for_each_other(tmp_path: Path) -> None:
    soon = time.monotonic() + 1
    for host in ("https://a.example", "https://i.example", "https://a.example:8443"):
        with RateLimit(host, 3600, tmp_path).slot(soon):
            pass
    for same in ("http://A.example/x", "https://user@a.example:443"):
        busy = RateLimit(same, 3600, tmp_path)
        with pytest.raises(SourceUnreachable, match=r"a\.example"), busy.slot(soon):
            pass


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x00garbage",
        b"[]",
        b'{"started": 1e18, "postponed_at": 0, "postponed_until": 0}',  # of before a reboot
        b'{"started": NaN, "postponed_at": NaN, "postponed_until": NaN}',
        b'{"started": null, "postponed_at": 4e9, "postponed_until": 5e9}',  # before a clock was set
        b'{"started": null, "postponed_at": 1e9, "postponed_until": 1e300}',
        b'{"started": null, "postponed_at": 1e9, "postponed_until": Infinity}',
    ],
)
def test_no_state_left_by_anybody_blocks_for_longer_than_it_may(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "a.example.json").write_bytes(state)
    with RateLimit("https://a.example", 0.05, tmp_path).slot(time.monotonic() + 1):
        pass


def test_a_pause_that_a_host_asked_for_outlives_the_process_and_ends(tmp_path: Path) -> None:
    RateLimit("https://a.example", 0, tmp_path).postpone(0.4)
    other = RateLimit("https://a.example", 0, tmp_path)
    with pytest.raises(SourceBlocked, match="asked for a pause until"), other.slot(time.monotonic() + 0.1):
        pass
    began = time.time()
    with other.slot(time.monotonic() + 5):
        state = json.loads((tmp_path / "a.example.json").read_text())
        assert time.time() >= state["postponed_until"]
        assert time.time() - began < 5


def test_a_pause_is_never_longer_than_a_day(tmp_path: Path) -> None:
    RateLimit("https://a.example", 0, tmp_path).postpone(1e12)
    state = json.loads((tmp_path / "a.example.json").read_text())
    assert state["postponed_until"] - state["postponed_at"] == pytest.approx(86_400)


def test_the_machine_folder_is_private_and_not_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("bizcharts_pipeline.core.private._login_home", lambda: Path("/dev/null"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    folder = machine_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert machine_folder().stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RateLimitFolderUnsafe, match=str(os.getuid())):
        machine_folder()


def test_a_host_that_answers_slowly_does_not_lower_the_rate(tmp_path: Path) -> None:
    limit = RateLimit("http://127.0.0.1:1", 5.0, tmp_path)
    with limit.slot(time.monotonic() + 1) as slot:
        slot.sent_at = time.monotonic() - 0.3  # and since then it has been waited for the answer
    (state,) = (json.loads(path.read_bytes()) for path in tmp_path.glob("*.json"))
    assert state["started"] == pytest.approx(slot.sent_at + 0.075, abs=1e-9)


def test_a_request_that_was_never_sent_counts_from_when_it_was_given_up(tmp_path: Path) -> None:
    limit = RateLimit("http://127.0.0.1:1", 5.0, tmp_path)
    with limit.slot(time.monotonic() + 1):
        given_up = time.monotonic()
    (state,) = (json.loads(path.read_bytes()) for path in tmp_path.glob("*.json"))
    assert state["started"] >= given_up
