"""Running one Dagster job in the repository's instance, in a process of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.settings import REPOSITORY_ROOT

MODULE = "bizcharts_pipeline.definitions"
PROGRESS = "BIZCHARTS_RUN_PROGRESS"  # lets a run say on stderr which step it is at
# Not the repository root: Dagster's programs would read .env there themselves, and let it win over the environment.
FOLDER = REPOSITORY_ROOT / "dagster_home"
INSTANCE_FILE = "dagster.yaml"
_FOUND = re.compile(r"not found in repository .* Found \[(.*)\]")
_PROGRESS_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?!\+)")


class NoInstance(BizchartsError):
    """The folder of the Dagster instance cannot be used."""


class UnknownJob(BizchartsError):
    """There is no such job; ``names`` are those that there are."""

    def __init__(self, job: str, names: Sequence[str]) -> None:
        super().__init__(f"there is no job {job!r}; the jobs are {', '.join(names)}")
        self.names = tuple(names)


class JobFailed(BizchartsError):
    """The job could not be started; a run that failed has said why itself."""


def job_command(job: str, tags: Mapping[str, str] | None = None) -> list[str]:
    """Return the program that runs a job to its end in its own process; ``DAGSTER_HOME`` names the instance."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", MODULE, "-j", job]
    return [*command, "--tags", json.dumps(tags)] if tags else command


def run_job(job: str, environment: Mapping[str, str], say: Callable[[str], object]) -> bool:
    """Run ``job``, each line of its progress to ``say``; return whether it succeeded. When this is interrupted, the
    run is told to stop, and its end awaited: it may have a pod to end.

    Raises:
        UnknownJob: there is no such job.
        JobFailed: Dagster did not start it.
        NoInstance: ``DAGSTER_HOME`` names no folder that can be used.
    """
    instance_folder(environment)
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
        start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which passes it on once
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                pass_on(line)
        except BaseException:
            process.terminate()
            for line in process.stdout:
                pass_on(line)
            process.wait()
            raise
    if process.returncode == 0:
        return True
    if not began:
        if names := _found_jobs("".join(rest)):
            raise UnknownJob(job, names)
        raise JobFailed(f"{job} was not started: {_last_line(rest)}")
    return False


def _found_jobs(output: str) -> list[str]:
    """Return the names of the jobs that Dagster lists where it does not find one; empty where it does not."""
    found = _FOUND.search(output)
    return [name for name in re.findall(r"'(\w+)'", found[1]) if not name.startswith("__")] if found else []


def _last_line(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def instance_folder(surroundings: Mapping[str, str]) -> Path:
    """Return the folder that ``DAGSTER_HOME`` names. If it has no ``dagster.yaml``, it gets the project's: without one,
    Dagster sends telemetry and knows none of the limits that a minutely job needs.

    Raises:
        NoInstance: there is no such folder, or it cannot be written to.
    """
    folder = Path(surroundings["DAGSTER_HOME"])
    if not folder.is_dir():
        raise NoInstance(f"DAGSTER_HOME: there is no folder {folder}; create it, or correct the variable.")
    if not (folder / INSTANCE_FILE).is_file():
        try:
            write_atomically(folder / INSTANCE_FILE, (FOLDER / INSTANCE_FILE).read_bytes())
        except OSError as error:
            raise NoInstance(f"DAGSTER_HOME: {folder} cannot be written to: {error.strerror}") from None
    return folder


def environment() -> dict[str, str]:
    """Return the environment for Dagster's programs, whose instance is the repository's unless it is set."""
    return {**os.environ, "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(FOLDER)}
