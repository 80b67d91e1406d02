"""The service whose processes are killed one by one."""

from datetime import timedelta
from pathlib import Path

import pytest
from dagster_ui import DagsterUI, kill, wait_until
from installation import Installation

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World


@pytest.mark.slow
def test_the_board_is_polled_though_each_process_that_has_no_child_was_killed(tmp_path: Path) -> None:
    now = utc_now()
    with SimulatedBoard(World(31, now - timedelta(days=1), 2), now=now) as board:
        installation = Installation(tmp_path, board.url)
        ui = DagsterUI(installation)
        ui.start()
        try:
            leaves = ui.leaves()
            for pid in leaves:
                kill(pid)
            wait_until(lambda: not set(leaves) & set(ui.descendants()), 30)
            wait_until(lambda: installation.database.exists() and installation.query(_POLLS) != [(0,)], 240)
        finally:
            ui.stop()


_POLLS = "SELECT count(*) FROM catalog_snapshots"
