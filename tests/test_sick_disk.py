"""What only reads still reads on a file system that refuses every write."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World

NOW = datetime(2026, 3, 2, 12, 0)
CSV = "thread_id,sentiment_rating,labeler_id,labeled_at\n1,3,me,2026-03-01 10:00:00\n"
NOBODY = 65534
# In a mount namespace of its own: the home is mounted read-only, then the commands run one by one.
_COMMANDS = [
    ["stats"],
    ["coverage"],
    ["index"],
    ["coins"],
    ["labels", "stats"],
    ["pods", "list"],
    ["maintain", "--dry-run"],
    ["snapshot", "{copy}"],
]
_PROGRAM = """
import json, sys
from installation import Installation
from pathlib import Path
folder, url, commands, extra = json.loads(sys.argv[1])
made = Installation(Path(folder), url, extra=extra)
for words in commands:
    done = made.run_here(*words)
    print(json.dumps([words, done.returncode, done.stderr]))
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    labels = tmp_path / "labels.csv"
    labels.write_text(CSV)
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        made = Installation(tmp_path, board.url, extra={"BIZCHARTS_POD_PROVIDER": "local"})
        assert made.run_here("poll", "--once", now=NOW).returncode == 0
        assert made.run_here("labels", "import", str(labels)).returncode == 0
        assert made.run_here("pods", "list").returncode == 0
        yield made


def outcomes(installation: Installation, *prefix: str, elsewhere: Path) -> list[tuple[list[str], int, str]]:
    commands = [[word.format(copy=elsewhere / "copy.duckdb") for word in words] for words in _COMMANDS]
    extra = installation.extra | {"BIZCHARTS_SETTINGS_FILE": "/dev/null", "BIZCHARTS_ENV_FILE": "/dev/null"}
    told = json.dumps([str(installation.folder), installation.board_url, commands, extra])
    done = subprocess.run(
        [*prefix, sys.executable, "-c", _PROGRAM, told],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_read_only_mount_can_be_read(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> None:
    mounts = ["unshare", "--mount", "sh", "-c"]
    bind = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    probe = subprocess.run([*mounts, bind, "sh", str(installation.home), "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no read-only mount here: {probe.stderr.strip()}")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    prefix = (*mounts, bind, "sh", str(installation.home))
    for words, status, errors in outcomes(installation, *prefix, elsewhere=elsewhere):
        assert status == 0, (words, errors)
        assert "cannot be written: Read-only file system" in errors or words != ["coverage"]


@pytest.mark.slow
def test_a_home_that_may_not_be_written_can_be_read(installation: Installation) -> None:
    """As the same user, whose folders have lost their write permission."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become a user whom modes bind")
    # Not below pytest's folder, which it closes to others whenever it starts.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        copied = replace(installation, folder=Path(name) / "copied")
        elsewhere = Path(name) / "elsewhere"
        elsewhere.mkdir()
        shutil.copytree(installation.folder, copied.folder, dirs_exist_ok=True)
        for part in (Path(name), *Path(name).rglob("*")):
            os.chown(part, NOBODY, NOBODY)
        for part in (copied.folder, *copied.folder.rglob("*")):
            part.chmod(0o500 if part.is_dir() else 0o400)
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        for words, status, errors in outcomes(copied, *become, elsewhere=elsewhere):
            assert status == 0, (words, errors)
