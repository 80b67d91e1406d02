"""Two machines share a lake and Dagster's records, and the one that runs the daemon dies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster_ui import DagsterUI, wait_until
from held_archive import HeldArchive
from installation import Installation
from postgres import Postgres

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service.jobs import INSTANCE_FILE

DAY = timedelta(days=1)
RUN = """
query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }
"""


@pytest.mark.acceptance
def test_the_other_machine_ends_the_run_of_the_dead_one_and_repeats_it(tmp_path: Path, postgres: Postgres) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - 6 * DAY
    world, address = World(19, start, 8, threads_per_day=100), postgres.new_lake()
    with HeldArchive(world, now=now) as archive, SimulatedBoard(world, now=now) as board, SimulatedPrices() as prices:
        machines = []
        for name in ("first", "second"):
            here = Installation(tmp_path / name, board.url, lake=address)
            here.extra |= {
                "BIZCHARTS_DATABASE_FILES": str(tmp_path / "lake"),
                "BIZCHARTS_FOURCHAN_IMAGE_URL": board.url,
                "BIZCHARTS_WAROSU_URL": archive.url,
                "BIZCHARTS_WAROSU_IMAGE_URL": archive.url,
                "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0.1",
                "BIZCHARTS_ARCHIVE_START": f"{start:%Y-%m-%d}",
                **{f"BIZCHARTS_{name}_URL": prices.url for name in ("COINGECKO", "BINANCE", "COINMARKETCAP")},
                "BIZCHARTS_ALTERNATIVE_ME_URL": prices.url,
            }
            (here.dagster_home / INSTANCE_FILE).unlink()
            machines.append(DagsterUI(here))
        first, second = machines
        first.start()
        second.start()
        try:
            archive.hold(after=2)
            day = start + 2 * DAY
            backfill = first.launch([f"{day:%Y-%m-%d}"])
            wait_until(archive.holds_somebody, 120)
            (run,) = second.started(backfill)
            first.kill()
            archive.let_go()
            wait_until(lambda: second.ask(RUN, id=run)["runOrError"]["status"] == "FAILURE", 240)
            assert second.wait_for(backfill, 240) == "COMPLETED_SUCCESS"
        finally:
            first.kill()
            second.stop()
        truth = set(archive.ops_of_day(day.date()))
    stored = second.installation.query("SELECT thread_id FROM thread_ops WHERE source = 'warosu'")
    assert {number for (number,) in stored} == truth
    assert len(stored) == len(truth)
