"""The three simulated hosts of one world, and the settings and environment that point a program to them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.api_keys import API_KEYS
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.world import World


@dataclass(frozen=True)
class Hosts:
    """Board, archive and price services of one world, on loopback."""

    board: SimulatedBoard
    archive: SimulatedArchive
    prices: SimulatedPrices

    def move_to(self, now: datetime) -> None:
        """Set the simulated time of all hosts to ``now`` (naive UTC)."""
        self.board.now = self.archive.now = self.prices.now = now

    def settings(self, home: Path) -> dict[str, object]:
        """Return the settings of an installation in ``home`` that uses these simulated hosts, without rate limits."""
        return {
            "home": home,
            "database": str(home / "bizcharts.duckdb"),
            "board": self.board.board,
            "archive_start": self.board.world.start.date(),
            "fourchan_api_url": self.board.url,
            "fourchan_image_url": self.board.url,
            "fourchan_seconds_per_request": 0,
            "warosu_url": self.archive.url,
            "warosu_image_url": self.archive.image_url,
            "warosu_seconds_per_request": 0,
            **{f"{host}_url": self.prices.url for host in ("coingecko", "binance", "coinmarketcap", "alternative_me")},
        }

    def environment(self, home: Path, dagster_home: Path) -> dict[str, str]:
        """Return the environment for a program of an installation that uses these simulated hosts, without API keys of
        real services."""
        variables: Mapping[str, object] = self.settings(home)
        return {
            **{name: value for name, value in os.environ.items() if name not in API_KEYS},
            "DAGSTER_HOME": str(dagster_home),
            **{f"BIZCHARTS_{name.upper()}": str(value) for name, value in variables.items()},
        }


@contextmanager
def simulated_hosts(world: World, archive_until: datetime) -> Iterator[Hosts]:
    """Serve the simulated ``world`` on loopback. The archive holds posts up to the day after ``archive_until``."""
    with (
        SimulatedBoard(world) as board,
        SimulatedArchive(world, now=archive_until) as archive,
        SimulatedPrices(now=archive_until) as prices,
    ):
        yield Hosts(board, archive, prices)
