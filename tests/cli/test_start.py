"""A signal at any time is one line: while the modules load, in a command, and while Python exits."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os, signal, sys

number, place = getattr(signal, sys.argv[1]), sys.argv[2]


class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            os.kill(os.getpid(), number)


if place == "exit":
    atexit.register(os.kill, os.getpid(), number)
sys.meta_path.insert(0, Sender())
sys.argv = ["bizcharts", "--version" if place == "exit" else "stats"]
from bizcharts_pipeline.cli.start import main

main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("place", ["bizcharts_pipeline.settings", "bizcharts_pipeline.warehouse.statistics", "exit"])
def test_a_signal_is_one_line(number: str, place: str) -> None:
    command = [sys.executable, "-c", PROGRAM, number, place]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    status = 128 + getattr(signal, number)
    assert (ended.returncode, ended.stderr.strip()) == (status, "bizcharts: Stopped.")
