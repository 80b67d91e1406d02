"""The clock of the machine itself jumps, for programs as installed: by libfaketime, not by a setting."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World

BIZCHARTS = Path(sys.executable).with_name("bizcharts")


@pytest.mark.acceptance
@pytest.mark.fault("clock jump", stage="poll", expected="by libfaketime: refused in one line; nothing is written")
@pytest.mark.parametrize("jump", ["+400d", "-400d", "+3h"])
def test_a_poll_of_a_machine_whose_clock_has_jumped_is_refused(tmp_path: Path, jump: str) -> None:
    if not shutil.which("faketime"):
        pytest.skip("no faketime here: apt install faketime (Debian)")
    now = utc_now()

    def poll(*prefix: str) -> subprocess.CompletedProcess[str]:
        board.now = utc_now()
        command = [*prefix, str(BIZCHARTS), "poll", "--once"]
        environment = made.environment(None)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    with SimulatedBoard(World(7, now - timedelta(days=2), 3), now=now) as board:
        made = Installation(tmp_path, board.url)
        assert poll().returncode == 0
        refused = poll("faketime", "-f", jump)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
        assert "clock says" in refused.stderr
        assert made.query("SELECT count(*) FROM catalog_snapshots") == [(1,)]
        assert not list((made.home / "spool").glob("*.gz"))
        assert poll().returncode == 0
    assert made.query("SELECT count(*) FROM catalog_snapshots") == [(2,)]
