"""Runs one Dagster job in the repository's instance, in its own process."""

import ast
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError, without_classes
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.service import instance_storage
from bizcharts_pipeline.settings import REPOSITORY_ROOT

MODULE = "bizcharts_pipeline.definitions"
PROGRESS = "BIZCHARTS_RUN_PROGRESS"  # makes a run report its steps on stderr
# Not the repository root: Dagster's programs would read .env there themselves, with precedence over the environment.
FOLDER = REPOSITORY_ROOT / "dagster_home"
LEFT_OVER_SECONDS = 5.0  # a run that has ended needs less to pass on its last lines
INSTANCE_FILE = "dagster.yaml"
_PROGRESS_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?!\+)")


class NoInstance(BizchartsError):
    """The folder of the Dagster instance cannot be used."""


class UnknownJob(BizchartsError):
    """There is no such job; ``names`` are the existing ones."""

    def __init__(self, job: str, names: Sequence[str]) -> None:
        super().__init__(f"there is no job {job!r}; available jobs: {', '.join(names)}")
        self.names = tuple(names)


class JobFailed(BizchartsError):
    """The job could not be started; a failed run reports its reason itself."""


def job_command(job: str, tags: Mapping[str, str] | None = None) -> list[str]:
    """Return the command that runs a Dagster job in its own process; ``DAGSTER_HOME`` sets the instance."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", MODULE, "-j", job]
    return [*command, "--tags", json.dumps(tags)] if tags else command


def run_job(
    job: str, environment: Mapping[str, str], say: Callable[[str], object], postgres: str | None = None
) -> bool:
    """Run ``job`` and pass each line of its progress to ``say``; return whether it succeeded. On an interruption the
    run is terminated and awaited, as it may have a pod to terminate. ``postgres`` is as for :func:`instance_folder`.

    Raises:
        UnknownJob: there is no such job; nothing was created.
        JobFailed: Dagster did not start it.
        NoInstance: ``DAGSTER_HOME`` is not a usable folder.
    """
    if job not in (names := job_names()):
        raise UnknownJob(job, names)
    instance_folder(environment, postgres)
    began = False
    rest: list[str] = []

    def pass_on(line: str) -> None:
        nonlocal began
        if _PROGRESS_LINE.match(line):
            began = True
            say(line.rstrip("\n"))
        else:
            rest.append(line)

    with subprocess.Popen(
        job_command(job),
        env={**environment, PROGRESS: "1"},
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C in a terminal reaches only this process, which forwards it once
    ) as process:
        assert process.stdout is not None
        all_read = threading.Event()
        threading.Thread(target=_end_left_over, args=(process.pid, all_read), daemon=True).start()
        try:
            for line in process.stdout:
                pass_on(line)
        except BaseException:
            process.terminate()
            for line in process.stdout:
                pass_on(line)
            process.wait()
            raise
        finally:
            all_read.set()
    if process.returncode == 0:
        return True
    if not began:
        raise JobFailed(f"{job} was not started: {_last_line(rest)}")
    return False


def _end_left_over(run: int, all_read: threading.Event) -> None:
    """Kill what a run that has ended left in its process group, as otherwise its output would never end: Dagster copies
    the logs of a step with ``tail``, which outlives a run that is killed together with the process that watches it.
    """
    with suppress(ChildProcessError, ProcessLookupError):  # all was read, and the run has been waited for
        os.waitid(os.P_PID, run, os.WEXITED | os.WNOWAIT)
        if not all_read.wait(LEFT_OVER_SECONDS):
            os.killpg(run, signal.SIGKILL)


def job_names() -> list[str]:
    """Return the names of all Dagster jobs, sorted.

    They are read from the text of the modules in ``jobs/``: Dagster would create its instance before it says that there
    is no such job, and takes seconds to load.
    """
    modules = sorted((REPOSITORY_ROOT / "jobs").glob("[!_]*.py"))
    calls = [node for path in modules for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
    named = [call.args[0] for call in calls if call.args and ast.unparse(call.func) == "dg.define_asset_job"]
    return sorted(str(name.value) for name in named if isinstance(name, ast.Constant))


def _last_line(lines: Sequence[str]) -> str:
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
    return without_classes(last)


def instance_folder(surroundings: Mapping[str, str], postgres: str | None) -> Path:
    """Return the folder ``DAGSTER_HOME``. If it has no ``dagster.yaml``, the project's is copied to it: without one,
    Dagster sends telemetry and lacks the limits that a minutely job needs.

    Args:
        postgres: words of the connection string of the database that then gets Dagster's records too, so that all
            machines share them; ``None``: they are files in the folder.

    Raises:
        NoInstance: there is no such folder, it cannot be written to, or PostgreSQL does not answer.
    """
    folder = Path(surroundings["DAGSTER_HOME"])
    if not folder.is_dir():
        raise NoInstance(f"DAGSTER_HOME: there is no folder {folder}; create it, or correct the variable.")
    try:
        if not (folder / INSTANCE_FILE).is_file():
            storage = b"" if postgres is None else instance_storage.in_postgres(postgres).encode()
            write_atomically(folder / INSTANCE_FILE, (FOLDER / INSTANCE_FILE).read_bytes() + storage)
        elif postgres is not None:  # Dagster's own message would not say that the server is away
            instance_storage.check(postgres)
    except sqlite3.Error as error:
        raise NoInstance(f"DAGSTER_HOME: Dagster's records cannot be kept in PostgreSQL: {error}") from None
    except OSError as error:
        raise NoInstance(f"DAGSTER_HOME: {folder} cannot be written to: {error.strerror}") from None
    return folder


def environment() -> dict[str, str]:
    """Return the environment for Dagster's programs; the instance defaults to the repository's."""
    return {**os.environ, "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(FOLDER)}
