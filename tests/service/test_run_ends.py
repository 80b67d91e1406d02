"""A run that has ended ends its command."""

import sys
from pathlib import Path

import pytest

from bizcharts_pipeline.service import jobs

# What is left of a run that is killed together with the process that would have ended its `tail`.
KILLED_RUN = """
import os, signal, subprocess
subprocess.Popen(["sh", "-c", "sleep 20; echo 2026-11-03 12:00:20 outlived its run"])
os.write(1, b"2026-11-03 12:00:00 live, catalog_snapshot: started\\n")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_ends_its_command_though_a_process_that_it_started_still_holds_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "job_command", lambda job: [sys.executable, "-c", KILLED_RUN])
    monkeypatch.setattr(jobs, "LEFT_OVER_SECONDS", 0.5)
    said: list[str] = []
    assert not jobs.run_job("live", {"DAGSTER_HOME": str(tmp_path)}, said.append)
    assert said == ["2026-11-03 12:00:00 live, catalog_snapshot: started"]
