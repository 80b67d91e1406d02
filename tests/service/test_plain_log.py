"""What Dagster's programs write to the service's log."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeProcessError, SensorExecutionError, user_code_error_boundary
from dagster._utils.error import serializable_error_info_from_exc_info
from installation import REPOSITORY, Installation

from bizcharts_pipeline.service import program
from bizcharts_pipeline.service.plain_log import MAX_BYTES, MAX_LINE, REPEAT_SECONDS, VARIABLE, OneLine
from bizcharts_pipeline.service.serve import with_plain_log

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [\w.-]+: (warning|error|critical): \S.*")
# Each of the ways in which Dagster, uvicorn and Python itself write more than a line.
LOUD = """
import logging, logging.config, threading, warnings
from bizcharts_pipeline.service.plain_log import install_if_asked
install_if_asked()
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.log import configure_loggers
import sys
import uvicorn.config
warnings.warn("before\\nall loggers")
configure_loggers(log_level="WARNING")
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
daemon = logging.getLogger("dagster.daemon.SensorDaemon")
try:
    try:
        raise RuntimeError("<_InactiveRpcError of RPC that terminated with:\\n\\tstatus = UNAVAILABLE")
    except RuntimeError as error:
        raise DagsterUserCodeUnreachableError("Could not reach user code server.") from error
except DagsterUserCodeUnreachableError:
    daemon.error("Caught error:\\n%s", serializable_error_info_from_exc_info(sys.exc_info()))
    daemon.exception("Sensor daemon caught an error")
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application\\n")
    logging.getLogger("unknown").warning("a logger\\nwithout handler")
    for _ in range(3):
        logging.warning("Retrying failed\\ndatabase connection")  # as dagster_postgres does
    daemon.error("said once")
warnings.warn("after\\nall loggers")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("the end")
"""

# As Dagster's code server starts the process of a run.
FULL_DISK = """
import multiprocessing, pathlib, sys
process = multiprocessing.get_context("spawn").Process(target=pathlib.Path("/dev/full").write_text, args=("x",))
process.start()
process.join()
sys.exit(process.exitcode)
"""


def said_by(program: str, details: Path) -> str:
    environment = with_plain_log({"PATH": "/usr/bin:/bin"}, details.parent)
    assert environment[VARIABLE] == str(details)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    return ended.stdout + ended.stderr


def test_each_event_is_one_plain_line_and_its_stack_trace_is_in_a_file(tmp_path: Path) -> None:
    details = tmp_path / "service-details.log"
    lines = said_by(LOUD, details).splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    for text in (
        "SensorDaemon: error: Caught error: Could not reach user code server. (details: ",
        "SensorDaemon: error: Sensor daemon caught an error: Could not reach user code server. (details: ",
        "error: error: Exception in ASGI application: Could not reach",
        "unknown: warning: a logger without handler",
        "root: warning: Retrying failed database connection",
        "SensorDaemon: error: said once",
        "dagster: warning: UserWarning: before all loggers",
        "dagster: warning: UserWarning: after all loggers",
        "dagster: critical: ended by an unexpected ZeroDivisionError: division by zero",
        "dagster: critical: ended by an unexpected ValueError: the end",
    ):
        assert sum(text in line for line in lines) == 1, text
    kept = details.read_text()
    assert (kept.count("Traceback"), kept.count("Stack Trace:")) == (6, 2)
    assert "status = UNAVAILABLE" in kept
    assert details.stat().st_mode & 0o077 == 0


def test_a_process_that_dies_before_it_has_loaded_the_code_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "starting.py").write_text(FULL_DISK)
    run = subprocess.run(
        program.command("starting"),
        env={**with_plain_log({"PATH": "/usr/bin:/bin"}, tmp_path), "PYTHONPATH": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (line,) = (run.stdout + run.stderr).splitlines()
    assert LINE.fullmatch(line)
    assert "dagster: critical: ended by an unexpected OSError: [Errno 28] No space left on device (details: " in line
    assert run.returncode == 1
    assert (tmp_path / "service-details.log").read_text().count("Traceback") == 1


def test_the_error_of_a_sensor_is_one_line_with_its_cause_and_without_names_of_classes(tmp_path: Path) -> None:
    try:
        with user_code_error_boundary(SensorExecutionError, lambda: "Error occurred in sensor pods_reaped"):
            raise dg.Failure("RunPod did not answer; try again later.")
    except SensorExecutionError:
        told = serializable_error_info_from_exc_info(sys.exc_info())  # by the code server
    plain, lines = OneLine(tmp_path / "details.log"), []
    try:
        raise DagsterUserCodeProcessError.from_error_info(told)
    except DagsterUserCodeProcessError:
        for text in ("Sensor tick caught an error", "Sensor daemon caught an error for sensor pods_reaped"):
            record = logging.LogRecord("dagster.SensorDaemon", logging.ERROR, "x.py", 1, text, None, sys.exc_info())
            if plain.filter(record):
                lines.append(record.line)  # type: ignore[attr-defined]
    assert lines == [
        "SensorDaemon: error: Sensor tick caught an error: RunPod did not answer; try again later. "
        f"(details: {tmp_path / 'details.log'})"
    ]
    assert "SensorExecutionError" in (tmp_path / "details.log").read_text()


def test_equal_lines_are_written_once_in_five_minutes_and_long_ones_are_cut(tmp_path: Path) -> None:
    now = [0.0]
    plain = OneLine(tmp_path / "details.log", clock=lambda: now[0])

    def is_written(text: str) -> bool:
        return plain.filter(logging.LogRecord("dagster.daemon", logging.ERROR, "x.py", 1, text, None, None))

    assert [is_written("away"), is_written("away"), is_written("back")] == [True, False, True]
    now[0] = REPEAT_SECONDS + 1
    assert is_written("away")
    record = logging.LogRecord("dagster", logging.ERROR, "x.py", 1, "\x1b[31mlong\x1b[0m " * 1000, None, None)
    assert plain.filter(record)
    assert len(plain.format(record)) < MAX_LINE + len(str(tmp_path)) + 80
    assert "\x1b" not in plain.format(record) + (tmp_path / "details.log").read_text()
    for _ in range(3):
        (tmp_path / "details.log").write_bytes(b"x" * (MAX_BYTES + 1))
        plain.filter(record)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["details.log", "details.log.1"]


@pytest.mark.slow
def test_assets_that_the_ui_materialises_add_nothing_to_the_log_of_the_service(tmp_path: Path) -> None:
    """The UI starts such a run without a logger of its own, as this command does."""
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    arguments = ["asset", "materialize", "-m", "bizcharts_pipeline.definitions", "--select", "human_labels"]
    run = subprocess.run(  # not forked: the log is chosen when the code location is loaded
        [sys.executable, "-m", "dagster", *arguments],
        env=with_plain_log(installation.environment(None), tmp_path),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    output = run.stdout
    assert run.returncode == 0, output
    assert not re.search(r"DEBUG|INFO|RUN_|STEP_|Traceback|\x1b", output)
