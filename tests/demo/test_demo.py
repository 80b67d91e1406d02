"""The demo, from an empty folder to its report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from installation import REPOSITORY, Installation

PROGRAM = "from bizcharts_pipeline.cli.main import main; main()"
DAYS = 65  # the fewest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_ends_with_an_index_that_follows_the_hidden_mood(tmp_path: Path) -> None:
    installation = Installation(tmp_path, "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "demo", "--days", str(DAYS), "--json"],
        cwd=REPOSITORY,
        env=installation.environment(None),
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["recovery"]["hours"] > 100
    assert report["recovery"]["index_correlation"] > 0.4
    assert 0.8 < report["recovery"]["coverage"] <= 1
    archive = report["archive"]
    assert archive["live_threads"] == archive["archive_threads"] == archive["both_threads"] > 100
    assert report["pictures"]["stored"] > 100
    assert report["prices"] > 500
    assert (installation.home / "demo" / "index.svg").is_file()
