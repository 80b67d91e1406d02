"""The queue of raw polls."""

import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.board.spool import Poll, Spool
from bizcharts_pipeline.http import quarantine as aside_module
from bizcharts_pipeline.http.errors import CorruptPollError

NOON = datetime(2026, 1, 1, 12)
URL = "https://a.example/biz/catalog.json"


def poll(minute: int = 0, body: bytes = b"[]", status: int = 200) -> Poll:
    return Poll(NOON + timedelta(minutes=minute), status, NOON, URL, body, "Thu, 01 Jan 2026 12:00:00 GMT")


def test_polls_come_back_as_they_were_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert spool.pending() == []
    polls = [poll(3, b"\x00\n\xff" * 99), poll(1), poll(2, b"", 304), Poll(NOON, 304, None, URL, b"")]
    for each in polls:
        spool.put(each)
    assert [spool.read(path) for path in spool.pending()] == sorted(polls, key=lambda each: each.fetched_at)
    for path in spool.pending():
        spool.remove(path)
        spool.remove(path)
    assert spool.pending() == []


def test_polls_of_the_same_microsecond_never_collide(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    writers = [threading.Thread(target=lambda: [spool.put(poll(body=bytes([n]))) for n in range(20)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(spool.pending()) == 80


@pytest.mark.fault("SIGKILL", stage="poll", expected="the spool has whole polls only")
def test_a_writer_killed_at_any_moment_leaves_only_whole_polls(tmp_path: Path) -> None:
    script = (
        "import sys; from datetime import datetime; from pathlib import Path\n"
        "from bizcharts_pipeline.board.spool import Poll, Spool\n"
        "spool = Spool(Path(sys.argv[1])); print('ready', flush=True)\n"
        "while True: spool.put(Poll(datetime(2026, 1, 1), 200, None, 'u', bytes(range(256)) * 2000))\n"
    )
    spool = Spool(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while len(spool.pending()) < 5:
        assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    assert {len(spool.read(path).body) for path in spool.pending()} == {512_000}


def test_half_written_files_of_killed_writers_do_not_pile_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    abandoned, fresh = tmp_path / ".tmp-1-a", tmp_path / ".tmp-2-b"
    for path in (abandoned, fresh):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    spool.put(poll())
    assert not abandoned.exists()
    assert fresh.exists()


@given(data=st.data())
def test_a_damaged_file_is_moved_aside_and_named_whatever_the_damage(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    path = spool.put(poll(body=b'[{"page":1}]'))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(st.sampled_from([whole[:cut], whole[:cut] + bytes(len(whole) - cut), b"no gzip" + whole[:cut]]))
    if damaged == whole:
        return
    path.write_bytes(damaged)
    with pytest.raises(CorruptPollError, match="moved to"):
        spool.read(path)
    assert spool.pending() == []
    (aside,) = (spool.folder / "rejected").glob("*.poll.gz")
    assert aside.read_bytes() == damaged
    assert "not readable" in aside.with_name(f"{aside.name}.reason.txt").read_text()


def test_a_poll_that_another_process_took_or_moved_is_no_error_to_move_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    moved, taken = spool.put(poll(1)), spool.put(poll(2))
    aside = spool.quarantine(moved, "why")
    assert spool.quarantine(moved, "why") == aside
    assert sorted(path.name for path in aside.parent.iterdir()) == [aside.name, f"{aside.name}.reason.txt"]
    spool.remove(taken)
    assert spool.quarantine(taken, "why") == aside.with_name(taken.name)
    assert len(list(aside.parent.iterdir())) == 2


def test_a_year_of_rejected_polls_keeps_the_newest_and_bounded_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside_module, "MAX_FILES", 10)
    spool = Spool(tmp_path)
    for minute in range(30):
        spool.quarantine(spool.put(poll(minute)), f"reason {minute}")
    rejected = tmp_path / "rejected"
    kept = sorted(rejected.glob("*.reason.txt"))
    assert [path.read_text().strip() for path in kept] == [f"reason {minute}" for minute in range(20, 30)]
    assert len(list(rejected.iterdir())) == 20

    monkeypatch.setattr(aside_module, "MAX_BYTES", 5000)
    spool.quarantine(spool.put(poll(99, os.urandom(4000))), "big")
    assert sum(path.stat().st_size for path in rejected.glob("*.poll.gz")) <= 5000
