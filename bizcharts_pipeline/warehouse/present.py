"""Plausibility check of this machine's clock before rows are deleted or become final.

Rows received from a source within the last hour show that the clock has not jumped since: each was written after the
same check. After a longer gap (a machine that was off, a clock that was set) the time is requested from a source. If
none responds, a gap of up to a day is accepted, so that a machine without a network keeps working.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.clock import MAX_DISAGREEMENT, MAX_SKEW, ClockDisagrees, check_against, from_epoch, utc_now
from bizcharts_pipeline.http.dates import http_date
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

ASK = Timeouts(connect=5, read=5, total=10)
MAX_BODY_BYTES = 4 * 1024 * 1024
# Time of the last data from a source, and the latest time in any row. Without polls, archive days and prices, the
# ingestion times of threads are used.
_SIGNS = """
SELECT coalesce(greatest((SELECT max(snapshot_at) FROM catalog_snapshots), (SELECT max(fetched_at) FROM warosu_days),
                         (SELECT max("at") FROM coin_prices)),
                (SELECT max(ingested_at) FROM thread_ops)) AS heard,
       greatest((SELECT max(snapshot_at) FROM catalog_snapshots), (SELECT max(fetched_at) FROM warosu_days),
                (SELECT max(greatest(bucket_start, computed_at)) FROM fear_greed_index)) AS latest
"""
# The latest time by which rows are kept or deleted.
_LATEST = """
SELECT greatest((SELECT max(greatest(posted_at, ingested_at, last_seen_at)) FROM thread_ops),
                (SELECT max(seen_at) FROM thread_observations), (SELECT max("at") FROM coin_prices))
"""


@dataclass(frozen=True)
class Witnesses:
    """Sources of the time: addresses in order of use, and the request settings."""

    urls: tuple[str, ...]
    seconds_per_request: float
    contact: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Witnesses":
        """Return the sources of the time by which an installation checks its clock before rows of the database are
        deleted or become final.
        """
        seconds = max(settings.fourchan_seconds_per_request, settings.warosu_seconds_per_request)
        return cls(witness_urls(settings), seconds, settings.contact)

    def ask(self) -> tuple[datetime, str] | None:
        """Return the time (naive UTC) of the first source that reports it, and its address, to check the clock by;
        ``None`` if none does.
        """
        with PoliteSession(self.seconds_per_request, contact=self.contact, timeouts=ASK, attempts=1) as session:
            for url in self.urls:
                try:
                    told = http_date(session.get(url, max_bytes=MAX_BODY_BYTES).headers.get("date", ""))
                except SourceError:
                    continue
                if told is not None:
                    return told, url
        return None


def witness_urls(settings: Settings) -> tuple[str, ...]:
    """Return the addresses of small pages of the board and the archive whose responses tell the time, to check the
    clock by.
    """
    board = settings.board
    return f"{settings.fourchan_api_url}/{board}/threads.json", f"{settings.warosu_url}/{board}/"


def check_clock(database: Database, home: Path, witnesses: Witnesses, now: datetime) -> None:
    """Check that the clock's time ``now`` (naive UTC) is plausible, by the times in the database and, if those leave a
    doubt, by a source's.

    Raises:
        ClockDisagrees: a source reports another time; or no source sent data for more than a day, and none responds.
    """
    with database.read() as connection:
        heard, latest = _signs(connection)
    if heard is None and latest is None:
        _confirm(witnesses.ask(), None, now)  # there is no data that could be lost, but rows may get a wrong date
    elif _problem(home, heard, latest, now, MAX_SKEW):
        _confirm(witnesses.ask(), _problem(home, heard, latest, now, MAX_DISAGREEMENT), now)


def check_clock_to_delete(database: Database, home: Path, witnesses: Witnesses, now: datetime) -> None:
    """Check that data in the database too old at ``now`` may be deleted.

    Always requests a source's time, and refuses future rows, because they hide which rows are the newest.

    Raises:
        ClockDisagrees: as :func:`check_clock`, or rows are dated after ``now``.
    """
    with database.read() as connection:
        heard, latest = _signs(connection)
        row = connection.execute(_LATEST).fetchone()
    told = witnesses.ask()
    _confirm(told, _problem(home, heard, latest, now, MAX_DISAGREEMENT), now)
    latest = max(filter(None, (latest, *(row or ()))), default=None)
    if latest is not None and latest > now + (MAX_SKEW if told else MAX_DISAGREEMENT):
        raise ClockDisagrees(
            f"{database.name} has rows dated in the future, up to {latest:%Y-%m-%d %H:%M}: a clock was ahead when "
            "they were written. Nothing was deleted; `bizcharts repair-clock` removes them."
        )


def _signs(connection: duckdb.DuckDBPyConnection) -> tuple[datetime | None, datetime | None]:
    row = connection.execute(_SIGNS).fetchone()
    assert row
    return row[0], row[1]


def _problem(home: Path, heard: datetime | None, latest: datetime | None, now: datetime, most: timedelta) -> str | None:
    """Return why ``now`` needs confirmation; ``None`` if all known times are within ``most`` of it."""
    if latest is not None and latest > now + most:
        return f"the database has rows of {latest:%Y-%m-%d %H:%M}"
    if heard is not None and abs(now - heard) > most:
        return f"the last poll was on {heard:%Y-%m-%d %H:%M}"
    newest = _newest_file(home)
    if newest is not None and newest > utc_now() + most:
        return f"files in {home} are dated {newest:%Y-%m-%d %H:%M}"
    return None


def _newest_file(home: Path) -> datetime | None:
    """Return the newest modification time in the home by the machine's clock; ``None`` under a simulated one."""
    if os.environ.get("BIZCHARTS_NOW"):
        return None
    try:
        with os.scandir(home) as entries:
            return from_epoch(max((entry.stat().st_mtime for entry in entries), default=0.0))
    except OSError:  # no home, or a file deleted meanwhile
        return None


def _confirm(told: tuple[datetime, str] | None, problem: str | None, now: datetime) -> None:
    """Compare ``now`` with the time ``told`` by a source; without one, refuse if there is a ``problem``."""
    if told is not None:
        check_against(now, *told)
    elif problem:
        raise ClockDisagrees(
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, but {problem}, and no source responds that could "
            "confirm it. Nothing was written or deleted; it continues by itself once a source responds."
        )
