"""Attempts that a kill ends are counted, whatever else ends one counts for nothing."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bizcharts_pipeline.core.attempts import Attempts, SetAside

_KILLED = (
    "import os, sys; from pathlib import Path; from bizcharts_pipeline.core.attempts import Attempts\n"
    "with Attempts(Path(sys.argv[1])).attempt(sys.argv[2]) as attempt:\n"
    "    if sys.argv[3:]: attempt.pause()\n"
    "    os.kill(os.getpid(), 9)\n"
)


def killed_over(folder: Path, item: str, *paused: str) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, str(folder), item, *paused], timeout=120).returncode == -9


def test_an_item_that_two_processes_were_killed_over_is_set_aside_and_named_until_its_file_is_deleted(
    tmp_path: Path,
) -> None:
    attempts = Attempts(tmp_path)
    killed_over(tmp_path, "poll 7")
    with attempts.attempt("poll 8"):
        pass
    killed_over(tmp_path, "poll 7")
    with (
        pytest.raises(SetAside, match="poll 7: set aside, because 2 processes"),
        attempts.attempt("poll 7"),
    ):
        pytest.fail("it was read")
    (named,) = attempts.set_aside()
    (file,) = tmp_path.iterdir()
    assert named.startswith("poll 7: ")
    assert named.endswith(f"delete {file}")
    file.unlink()
    with attempts.attempt("poll 7"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_ends_an_attempt_and_counts_for_nothing(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    for error in (ValueError, KeyboardInterrupt, MemoryError):
        with pytest.raises(error), attempts.attempt("page"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_a_pause_counts_for_nothing_and_an_end_in_one_forgets_no_earlier_kill(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    for _ in range(3):
        killed_over(tmp_path, "poll", "paused")
    killed_over(tmp_path, "poll")
    with attempts.attempt("poll") as attempt:
        attempt.pause()
    assert attempts.set_aside() == []
    with attempts.attempt("other") as attempt:
        attempt.pause()
        attempt.resume()
    killed_over(tmp_path, "poll")
    assert len(attempts.set_aside()) == 1


def test_processes_that_work_on_one_item_at_a_time_do_not_count_each_other(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with Attempts(tmp_path).attempt("day"):
            entered.set()
            leave.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    assert entered.wait(60)
    for _ in range(3):
        with attempts.attempt("day"):
            pass
    leave.set()
    worker.join()
    assert list(tmp_path.iterdir()) == []


def test_items_whose_names_look_alike_in_a_file_name_are_told_apart(tmp_path: Path) -> None:
    killed_over(tmp_path, f"picture http://a.example/{os.sep}x?1")
    killed_over(tmp_path, "picture http://a.example/-x-1")
    assert len(list(tmp_path.iterdir())) == 2
