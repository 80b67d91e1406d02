"""``bizcharts api`` as its users run it: a process, an address, Ctrl-C."""

import json
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from urllib.request import urlopen

from installation import REPOSITORY, Installation
from ports import free_port
from published_rows import HOUR, insert_index, published_hour

T0 = datetime(2026, 3, 2)


def test_the_command_serves_on_loopback_until_it_is_interrupted(tmp_path: Path) -> None:
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    installation.home.mkdir()
    with installation.database.write() as connection:
        insert_index(connection, [published_hour(T0 + n * HOUR, n) for n in range(24)])
    port = free_port()
    program = "from bizcharts_pipeline.cli.start import main; main()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, "api", "--port", str(port)],
        cwd=REPOSITORY,
        env=installation.environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}/v1/index"
        with urlopen(address, timeout=20) as answer:
            assert len(json.load(answer)["rows"]) == 24
        taken = installation.run_here("api", "--port", str(port))
        assert taken.returncode == 1
        assert f"Port {port}" in taken.stderr
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
