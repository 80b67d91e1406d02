"""The app as its users start it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app_world import NOW
from installation import REPOSITORY


@contextmanager
def app_server(home: Path, **environment: str) -> Iterator[str]:
    """Run `bizcharts app`; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from bizcharts_pipeline.cli.main import main; main()", "app", "--port", "0"],
        cwd=REPOSITORY,
        env={**os.environ, "BIZCHARTS_HOME": str(home), "BIZCHARTS_NOW": NOW.isoformat(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if line.startswith("http://"):
                break
        else:
            raise AssertionError("".join(printed))
        yield line.strip()
    finally:
        process.kill()
        process.communicate()
