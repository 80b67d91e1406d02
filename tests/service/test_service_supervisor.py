"""The supervisor, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bizcharts_pipeline.service.supervisor import (
    LONGEST_PAUSE_SECONDS,
    PROBE_EVERY_SECONDS,
    STEADY_SECONDS,
    Child,
    Supervisor,
)

WAIT_SECONDS = 30
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
PROGRAM = """
import os, sys
from pathlib import Path
from bizcharts_pipeline.service.supervisor import Child, Supervisor
folder = Path(sys.argv[1])
child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
def note():
    (folder / "pid").write_text(str(child.process.pid))
Supervisor([child], os.environ, folder, print, note).run()
"""
DEAF = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path('deaf').touch()
time.sleep(600)
"""


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux ends the children")
def test_no_child_outlives_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    pid = tmp_path / "pid"
    program = PROGRAM.replace('"import time; time.sleep(600)"', repr(DEAF))
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as supervisor:
        until(lambda: pid.exists() and pid.read_text() != "" and (tmp_path / "deaf").exists())
        child = int(pid.read_text())
        assert not is_gone(child)
        supervisor.send_signal(number)
        supervisor.wait(WAIT_SECONDS)
    until(lambda: is_gone(child))


def test_what_a_child_prints_is_in_the_one_log_on_stderr(tmp_path: Path) -> None:
    program = PROGRAM.replace("import time; time.sleep(600)", "print('from a sensor', flush=True); input()")
    out, log = tmp_path / "out", tmp_path / "log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdout=stdout, stderr=stderr) as supervisor:
            until(lambda: "from a sensor" in log.read_text())
            supervisor.terminate()
    assert "from a sensor" not in out.read_text()


def test_a_child_that_ends_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    now, said = [0.0], list[str]()
    child = Child("short", [sys.executable, "-c", "raise SystemExit(3)"])
    supervisor = Supervisor([child], os.environ, tmp_path, said.append, clock=lambda: now[0])
    pauses = []
    for _ in range(8):
        supervisor.check_children()
        assert child.process is not None
        child.process.wait(WAIT_SECONDS)
        supervisor.check_children()
        assert child.process is None
        pauses.append(child.start_at - now[0])
        now[0] = child.start_at - 0.5
        supervisor.check_children()
        assert child.process is None
        now[0] = child.start_at
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert said[0] == "short ended (status 3); restarting in 1 s"
    supervisor.check_children()
    assert child.process is not None
    child.process.wait(WAIT_SECONDS)
    now[0] += STEADY_SECONDS
    supervisor.check_children()
    assert child.start_at - now[0] == 1


def test_a_child_whose_probe_fails_three_times_in_a_row_is_killed_and_started_again(tmp_path: Path) -> None:
    now, said, well = [0.0], list[str](), tmp_path / "well"
    child = Child("server", SLEEPER, probe=["test", "-e", str(well)])
    supervisor = Supervisor([child], os.environ, tmp_path, said.append, clock=lambda: now[0])

    def probed() -> None:
        now[0] += PROBE_EVERY_SECONDS
        supervisor.check_children()
        assert child.probing
        child.probing.wait(WAIT_SECONDS)
        supervisor.check_children()

    try:
        supervisor.check_children()
        assert child.process
        first = child.process.pid
        for is_well in (False, False, True, False, False):
            well.touch() if is_well else well.unlink(missing_ok=True)
            probed()
        assert (said, is_gone(first)) == ([], False)
        probed()
        assert said == ["server does not answer any more; killed"]
        until(lambda: is_gone(first))
        supervisor.check_children()
        now[0] += LONGEST_PAUSE_SECONDS
        supervisor.check_children()
        assert child.process
        assert child.process.pid != first
    finally:
        supervisor.stop()


def test_a_child_waits_for_what_another_one_makes(tmp_path: Path) -> None:
    child = Child("second", SLEEPER, needs=tmp_path / "socket")
    supervisor = Supervisor([child], os.environ, tmp_path, print)
    supervisor.check_children()
    assert child.process is None
    (tmp_path / "socket").touch()
    supervisor.check_children()
    assert child.process is not None
    supervisor.stop()
    assert child.process is None
