"""A small world, an archive of it on loopback, and an installation that reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bizcharts_pipeline.archive.days import DayReport, import_day
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

START = datetime(2025, 10, 28)  # summer time ends in New York on 2 November
NOW = START + timedelta(days=12)


@dataclass(frozen=True)
class Reader:
    """What reads the simulated archive, and where it keeps what it read."""

    server: SimulatedArchive
    archive: Archive
    database: DatabaseFile

    def take(self, day: datetime, now: datetime = NOW, **options: Any) -> DayReport:
        return import_day(self.archive, self.database, day.date(), now, **options)

    def stored(self) -> dict[int, datetime]:
        with self.database.read() as connection:
            return dict(connection.execute("SELECT thread_id, posted_at FROM thread_ops").fetchall())

    def days(self) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return connection.execute("SELECT day, rows, complete FROM warosu_days ORDER BY day").fetchall()

    def truth(self, day: datetime) -> dict[int, datetime]:
        return {number: self.server.posted_at(number) for number in self.server.ops_of_day(day.date())}


def reader_of(server: SimulatedArchive, folder: Path, seconds: float = 0) -> Reader:
    folder.mkdir(parents=True, exist_ok=True)
    archive = Archive(
        home=folder,
        board=server.board,
        url=server.url,
        image_url=server.image_url,
        seconds_per_request=seconds,
        contact="",
    )
    return Reader(server, archive, DatabaseFile(folder / "bizcharts.duckdb", 20))


@contextmanager
def reading(world: World, folder: Path, **options: Any) -> Iterator[Reader]:
    with SimulatedArchive(world, **{"now": NOW, **options}) as server:
        yield reader_of(server, folder)
