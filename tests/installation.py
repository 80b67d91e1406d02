"""An installation of BizCharts in a folder of its own, run as its users run it: by processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from pathlib import Path
from shutil import copy
from typing import Any
from unittest.mock import patch

from forked import ForkedProcess, run_bizcharts, run_module

from bizcharts_pipeline.cli.main import main
from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.service.jobs import job_command
from bizcharts_pipeline.settings import postgres_words
from bizcharts_pipeline.warehouse.database import Database

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS = 120


@dataclass
class Installation:
    """Home, Dagster home, board and database of one installation."""

    folder: Path
    board_url: str
    board: str = "biz"
    extra: dict[str, str] = field(default_factory=dict)
    lake: str = ""  # its address; empty: the database is a file, and so are the ledgers

    def __post_init__(self) -> None:
        if self.lake:
            keep_in_postgres(self.home, postgres_words(self.lake))
        self.dagster_home.mkdir(parents=True, exist_ok=True)
        if not (self.dagster_home / "dagster.yaml").exists():
            copy(REPOSITORY / "dagster_home" / "dagster.yaml", self.dagster_home)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster_home"

    @property
    def database(self) -> Database:
        if self.lake:
            return Database.named(self.lake, self.home, 30)
        return Database.named(str(self.home / "bizcharts.duckdb"), None, 30)

    def environment(self, now: datetime | None) -> dict[str, str]:
        clock = {"BIZCHARTS_NOW": now.isoformat()} if now else {}
        lake = {"BIZCHARTS_DATABASE": self.lake} if self.lake else {}
        return {
            **os.environ,
            "BIZCHARTS_HOME": str(self.home),
            "DAGSTER_HOME": str(self.dagster_home),
            "BIZCHARTS_BOARD": self.board,
            "BIZCHARTS_FOURCHAN_API_URL": self.board_url,
            "BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST": "0",
            "OMP_NUM_THREADS": "1",
            **clock,
            **lake,
            **self.extra,
        }

    def start_job(self, job: str, now: datetime | None) -> ForkedProcess:
        """Start what :func:`~bizcharts_pipeline.service.jobs.job_command` names."""
        module = job_command(job)[2:]
        environment = self.environment(now)
        return ForkedProcess(run_module, module, folder=REPOSITORY, environment=environment, merged=True)

    def run_job(self, job: str = "live", now: datetime | None = None, *, fails: bool = False) -> str:
        """Run a job to its end and return what it printed."""
        process = self.start_job(job, now)
        output, _ = process.communicate(timeout=SECONDS)
        assert (process.returncode != 0) == fails, output
        return output

    def kill_job(self, job: str, now: datetime, *, when: Callable[[], bool], then_seconds: float) -> None:
        """Run a job and kill -9 it so many seconds after ``when`` has come true."""
        process = self.start_job(job, now)
        deadline = time.monotonic() + SECONDS
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(then_seconds)
        process.kill()
        process.communicate(timeout=SECONDS)

    def run_command(self, *words: str, now: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        process = ForkedProcess(run_bizcharts, words, folder=self.folder, environment=self.environment(now))
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode is not None
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def run_here(self, *words: str, now: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line in this process, which takes no second to start."""
        out, err, status = StringIO(), StringIO(), 0
        with (
            patch.dict(os.environ, self.environment(now), clear=True),
            patch.object(sys, "argv", ["bizcharts", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                status = int(end.code or 0)
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return connection.execute(sql).fetchall()
