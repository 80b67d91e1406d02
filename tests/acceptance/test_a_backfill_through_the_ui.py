"""Days of the archive launched from the Dagster UI, while everything around fails: every opening post once."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from dagster_ui import DagsterUI, kill, wait_until
from held_archive import HeldArchive
from installation import Installation

from bizcharts_pipeline.demo.archive.posts import Quirks
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World

DAY = timedelta(days=1)
ANSWERED = 4  # requests before a kill; a day takes five
DELAY = 0.05  # seconds between the sending of a request and its note here, on a busy machine


@dataclass(frozen=True)
class Scale:
    """How much of it: days in trouble and in quiet, the least time between two requests, kills, threads a day."""

    troubled: int
    quiet: int
    seconds: float
    kills: int
    threads_per_day: int


SMALL = Scale(troubled=3, quiet=2, seconds=0.1, kills=1, threads_per_day=100)
WHOLE = Scale(troubled=30, quiet=60, seconds=0.5, kills=3, threads_per_day=300)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("scale", [SMALL, pytest.param(WHOLE, marks=pytest.mark.acceptance)], ids=["small", "whole"])
def test_days_from_the_ui_with_kills_blocks_and_restarts_in_between(tmp_path: Path, scale: Scale, engine: str) -> None:
    seconds, whole = scale.seconds, scale.troubled + scale.quiet
    today = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    start = today - (whole + 4) * DAY
    world = World(17, start, whole + 6, threads_per_day=scale.threads_per_day)
    quirks = Quirks(wrong_times_before=today - whole * 2 / 3 * DAY)
    now = datetime.now(UTC).replace(tzinfo=None)
    with (
        HeldArchive(world, now=now, quirks=quirks, generation=lambda _, number: "ABC"[number % 3]) as archive,
        SimulatedBoard(world, now=now) as board,
        SimulatedPrices() as prices,
    ):
        installation = Installation(
            tmp_path,
            board.url,
            extra={
                "BIZCHARTS_FOURCHAN_IMAGE_URL": board.url,
                "BIZCHARTS_WAROSU_URL": archive.url,
                "BIZCHARTS_WAROSU_IMAGE_URL": archive.url,
                "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": str(seconds),
                "BIZCHARTS_ARCHIVE_START": f"{start:%Y-%m-%d}",
                **{f"BIZCHARTS_{name}_URL": prices.url for name in ("COINGECKO", "BINANCE", "COINMARKETCAP")},
                "BIZCHARTS_ALTERNATIVE_ME_URL": prices.url,
            },
            lake=engine,
        )
        ui = DagsterUI(installation)
        ui.start()
        try:
            days = [f"{start + number * DAY:%Y-%m-%d}" for number in range(2, whole + 2)]
            troubled, quiet = days[: scale.troubled], days[scale.troubled :]
            trouble(ui, archive, troubled, scale.kills)
            pauses_end(archive)
            asked = len(archive.requests)
            undisturbed = ui.launch(quiet)
            assert ui.wait_for(undisturbed, 3600) == "COMPLETED_SUCCESS"
            assert ui.partitions()["numMaterialized"] == whole
            arrivals = [record.at for record in archive.requests]
            used = (len(arrivals) - asked - 1) * seconds / (arrivals[-1] - arrivals[asked])
        finally:
            ui.stop()
        truth = {number for day in days for number in archive.ops_of_day(datetime.fromisoformat(day).date())}
        times = {number: archive.posted_at(number) for number in truth}
    stored = installation.query("SELECT thread_id, posted_at FROM thread_ops WHERE source = 'warosu'")
    assert len(stored) == len(truth)
    assert dict(stored) == times
    assert installation.query("SELECT count(*) FROM warosu_days WHERE complete") == [(whole,)]
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert min(gaps) >= seconds - DELAY
    print(f"\n{len(arrivals):,} requests; {used:.1%} of the allowed rate while undisturbed")


def trouble(ui: DagsterUI, archive: HeldArchive, days: list[str], kills: int) -> None:
    """A backfill through passing blocks, killed workers, and a power cut."""
    archive.fail_every, archive.fail_with = 97, Fault.CLOUDFLARE_CHALLENGE
    archive.hold(after=ANSWERED)
    backfill = ui.launch(days)
    for _ in range(kills):
        wait_until(archive.holds_somebody, 300)
        for pid in ui.workers():
            kill(pid)
        archive.let_go()
        archive.hold(after=ANSWERED)
    wait_until(archive.holds_somebody, 300)
    ui.kill()
    archive.let_go()
    ui.start()
    status = ui.wait_for(backfill, 1800)
    archive.fail_every = None
    while status != "COMPLETED_SUCCESS":  # as a person does: what failed is launched again
        status = ui.wait_for(ui.launch(days), 1800)


def pauses_end(archive: SimulatedArchive) -> None:
    """Wait until nobody has asked for a moment."""
    while time.monotonic() - archive.requests[-1].at < 5:
        time.sleep(0.5)
