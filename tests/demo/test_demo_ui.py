"""The demo's UI serves what the demo made, and leaves nothing running."""

import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from installation import REPOSITORY, Installation
from ports import free_port

from bizcharts_pipeline.core.clock import midnight, utc_now
from bizcharts_pipeline.demo.ui import remember_world
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service.serve import instance_lock

SECONDS = 90
PROGRAM = "from bizcharts_pipeline.cli.main import main; main()"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    # As the demo lays it out: its home and its Dagster home are folders below those of the installation.
    (installation.dagster_home / "demo").mkdir()
    (installation.dagster_home / "dagster.yaml").rename(installation.dagster_home / "demo" / "dagster.yaml")
    return installation


def programs_with(argument: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if argument in command:
            found.append(command)
    return found


def test_without_a_demo_the_ui_says_how_to_make_one(installation: Installation) -> None:
    refused = installation.run_command("demo", "--ui")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "make demo" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_ui_of_the_demo_answers_and_leaves_nothing_running(installation: Installation) -> None:
    home = installation.home / "demo"
    home.mkdir(parents=True)
    remember_world(home, World(3, midnight(utc_now().date() - timedelta(days=3)), 4), 4)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        refused = installation.run_command("demo", "--ui", "--port", str(port))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port}: Address already in use; choose another one with --port" in refused.stderr

    ui = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "demo", "--ui", "--port", str(port)],
        cwd=REPOSITORY,
        env=installation.environment(None),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert ui.poll() is None
            assert time.monotonic() < deadline
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5)
            except requests.ConnectionError:
                time.sleep(0.5)
                continue
            assert answer.ok
            break
        rebound = requests.get(f"http://127.0.0.1:{port}/server_info", headers={"Host": "evil.example"}, timeout=5)
        assert rebound.status_code == 421  # the same guard as that of the service
    finally:
        ui.send_signal(signal.SIGTERM)
        assert ui.wait(SECONDS) == 0
    deadline = time.monotonic() + SECONDS
    while left := programs_with(str(installation.home)):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def test_a_demo_that_is_looked_at_is_not_made_anew_and_one_cut_short_is_none(installation: Installation) -> None:
    home = installation.home / "demo"
    home.mkdir(parents=True)
    (home / "bizcharts.duckdb").write_bytes(b"what is looked at")
    with instance_lock(home):
        refused = installation.run_command("demo")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "already in use" in refused.stderr
    assert (home / "bizcharts.duckdb").read_bytes() == b"what is looked at"
    shown = installation.run_command("demo", "--ui")  # no demo was finished in this home
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert "no finished demo" in shown.stderr
