"""The service as an operator starts it."""

import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from dagster import DagsterInstance, deserialize_value
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiStub
from dagster._grpc.server import DagsterApiServer
from dagster._grpc.types import CanCancelExecutionRequest
from installation import REPOSITORY, Installation
from quick_jobs import quick_live

from assets.catalog_snapshot import UNREACHABLE
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service import code_server, program
from bizcharts_pipeline.service.serve import (
    current_index,
    dagster_lock,
    instance_lock,
    nearly_full,
    refuse_other_home,
    with_plain_log,
)
from bizcharts_pipeline.service.webserver import NOWHERE
from bizcharts_pipeline.settings import load_settings
from schedules.schedules import MAX_PAUSE_MINUTES, unreachable_pause


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, "http://127.0.0.1:9")


def test_a_taken_port_is_one_line_and_makes_nothing(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        installation.extra["BIZCHARTS_SERVE__PORT"] = str(port)
        refused = installation.run_command("serve")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port}: Address already in use" in refused.stderr
    assert not installation.home.exists()


def test_a_password_that_cannot_be_used_is_one_line_and_not_repeated(installation: Installation) -> None:
    installation.extra["BIZCHARTS_UI_PASSWORD"] = "short"
    refused = installation.run_command("serve")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "BIZCHARTS_UI_PASSWORD needs at least 12 characters" in refused.stderr
    assert "short" not in refused.stderr
    assert not installation.home.exists()


def test_an_address_for_alerts_that_is_not_allowed_is_one_line_and_makes_nothing(installation: Installation) -> None:
    installation.extra["BIZCHARTS_ALERT_URLS"] = "json://example.org secret-canary"
    refused = installation.run_here("serve")
    assert refused.returncode == 1
    assert refused.stderr.startswith("bizcharts: BIZCHARTS_ALERT_URLS: address 2 is not an Apprise URL")
    assert refused.stderr.count("\n") == 1
    assert "canary" not in refused.stderr
    assert not installation.home.exists()


def test_no_password_comes_from_the_settings_file(installation: Installation) -> None:
    (installation.folder / "settings.toml").write_text('[serve]\nui_password = "a long password"\n')
    installation.extra["BIZCHARTS_SETTINGS_FILE"] = str(installation.folder / "settings.toml")
    refused = installation.run_command("serve")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "unknown setting" in refused.stderr


@pytest.mark.slow
def test_an_unguarded_web_server_cannot_listen(installation: Installation) -> None:
    """Dagster's own last step, if it is taken after all, finds no address to listen at."""
    workspace = installation.folder / "workspace.yaml"
    workspace.write_text("load_from: []\n")
    program = (
        "from dagster_webserver import cli\n"
        "from bizcharts_pipeline.service import webserver\n"
        "webserver.STEP = cli.another_step = 'another_step'\n"
        f"webserver.main(['--host', '127.0.0.1', '--port', '9', {str(workspace)!r}])\n"
    )
    environment = installation.environment(None)
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode != 0
    assert f"('{NOWHERE}', 9)" in ended.stderr
    assert "cannot assign requested address" in ended.stderr.lower()


def test_the_makefile_starts_no_unguarded_web_server() -> None:
    lines = (REPOSITORY / "Makefile").read_text().splitlines()
    assert not [
        line for line in lines if line.startswith("\t") and re.search(r"dagster[ -](dev|webserver)|dagit", line)
    ]
    assert "\t@exec $(BIN)/bizcharts serve --dev" in lines


def test_a_second_service_on_one_home_is_one_line(installation: Installation) -> None:
    installation.home.mkdir()
    with instance_lock(installation.home):
        refused = installation.run_command("serve")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "already in use by process" in refused.stderr


def test_a_second_service_or_an_import_of_another_home_in_one_dagster_home_is_one_line(
    installation: Installation, tmp_path: Path
) -> None:
    with dagster_lock(installation.dagster_home, tmp_path / "other"):
        served = installation.run_command("serve")
        imported = installation.run_command("import", "--last", "2")
    for refused in (served, imported):
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"{installation.dagster_home} is in use by the service of {tmp_path / 'other'}" in refused.stderr
    assert not (installation.home / "bizcharts.duckdb").exists()
    with dagster_lock(installation.dagster_home, installation.home):  # of this home's own service
        refuse_other_home(installation.dagster_home, installation.home)


def test_an_unknown_job_is_one_line_and_makes_nothing(installation: Installation) -> None:
    (installation.dagster_home / "dagster.yaml").unlink()
    refused = installation.run_command("run", "NOPE")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "there is no job 'NOPE'; available jobs: backtest, collect_auto_labels, " in refused.stderr
    assert [path.name for path in installation.folder.rglob("*")] == ["dagster_home"]


def test_the_log_names_a_disk_that_is_nearly_full_or_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert nearly_full([tmp_path / "gone"]) == f"The free space of {tmp_path / 'gone'} is not known: {os.strerror(2)}."
    left = {Path("/home"): 5_000_000_000, Path("/dagster"): 250_000_000}
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=left[folder]))
    assert nearly_full([Path("/home")]) is None
    assert nearly_full(list(left)) == (
        "The disk of /dagster is nearly full, with 250 MB free; runs fail when it is full."
    )


def test_the_log_says_why_there_is_no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIZCHARTS_HOME", str(tmp_path))
    assert "there is no database" in current_index(load_settings())


def test_the_log_has_the_newest_hour_of_the_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = datetime(2026, 3, 2, 12)
    with SimulatedBoard(World(7, start - timedelta(days=2), 3), now=start) as board:
        polled = Installation(tmp_path, board.url).run_command("poll", "--once", now=start)
    assert polled.returncode == 0, polled.stderr
    monkeypatch.setenv("BIZCHARTS_HOME", str(tmp_path / "home"))
    assert re.match(r"index of 2026-03-02 1[12]:00 UTC: .*; \d+ posts", current_index(load_settings()))


def test_pauses_grow_while_the_board_cannot_be_reached(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert unreachable_pause(instance, datetime.now(UTC)) is None
        for runs, minutes in enumerate([1, 2, 4, MAX_PAUSE_MINUTES], start=1):
            instance.create_run_for_job(quick_live, tags={UNREACHABLE: "true"})
            now = instance.get_run_records(limit=1)[0].create_timestamp
            assert unreachable_pause(instance, now + timedelta(minutes=minutes, seconds=-20)), runs
            assert unreachable_pause(instance, now + timedelta(minutes=minutes)) is None
        instance.create_run_for_job(quick_live)
        assert unreachable_pause(instance, datetime.now(UTC)) is None


@pytest.mark.slow
def test_a_code_server_that_hangs_does_not_answer(installation: Installation) -> None:
    socket = installation.folder / "code.sock"
    module = ["-m", "bizcharts_pipeline.definitions", "-s", str(socket)]
    started = program.command("dagster", "api", "grpc", "--lazy-load-user-code", *module)
    with subprocess.Popen(started, cwd=REPOSITORY, env=installation.environment(None)) as server:
        try:
            deadline = time.monotonic() + 120
            while not socket.exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert code_server.answers(socket, 60)
            assert subprocess.run(code_server.command(socket), cwd=REPOSITORY).returncode == 0
            server.send_signal(signal.SIGSTOP)
            assert not code_server.answers(socket, 1)
        finally:
            server.kill()
    assert not code_server.answers(socket, 1)


def test_the_code_server_is_asked_what_needs_the_lock_of_a_run() -> None:
    asked = dagster_api_pb2.CanCancelExecutionRequest.FromString(code_server.MESSAGE)
    request = deserialize_value(asked.serialized_can_cancel_execution_request, CanCancelExecutionRequest)
    assert request.run_id == "none"
    assert "with self._execution_lock" in inspect.getsource(DagsterApiServer.CanCancelExecution)
    assert "with self._execution_lock" in inspect.getsource(DagsterApiServer.StartRun)
    assert code_server.METHOD in inspect.getsource(DagsterApiStub)


@pytest.mark.slow
def test_a_code_server_that_starts_again_leaves_no_stack_trace_in_the_log(installation: Installation) -> None:
    workspace = installation.folder / "workspace.yaml"
    workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {installation.folder}/none.sock\n")
    program = (
        "import sys\n"
        "from dagster import DagsterInstance\n"
        "from dagster._core.workspace.context import WorkspaceProcessContext\n"
        "from dagster._core.workspace.load_target import WorkspaceFileTarget\n"
        "with DagsterInstance.get() as instance:\n"
        "    with WorkspaceProcessContext(instance, WorkspaceFileTarget(paths=[sys.argv[1]])):\n"
        "        pass\n"
    )
    loud = installation.environment(None)
    said = []
    for environment in (loud, with_plain_log(loud, installation.folder)):
        command = [sys.executable, "-c", program, str(workspace)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        said.append("Stack Trace" in ended.stderr)
    assert said == [True, False]
