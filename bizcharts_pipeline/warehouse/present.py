"""Whether this machine's clock may be believed before rows are deleted or become final.

Rows that came from a source within the last hour show that the clock has not jumped since: each of them was written
under this same check. After a longer gap (a machine that was off, a clock that was set) a source is asked for its time.
Where none answers, a gap of up to a day is accepted, so that a machine without a network goes on.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.clock import MAX_DISAGREEMENT, MAX_SKEW, ClockDisagrees, check_against, from_epoch, utc_now
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.session import PoliteSession, Timeouts, http_date
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

ASK = Timeouts(connect=5, read=5, total=10)
MAX_BODY_BYTES = 4 * 1024 * 1024
# When a source last gave something, and the latest time that stands in a row. Without polls, days of the archive and
# prices, the threads tell when they came in.
_SIGNS = """
SELECT coalesce(greatest((SELECT max(snapshot_at) FROM catalog_snapshots), (SELECT max(fetched_at) FROM warosu_days),
                         (SELECT max("at") FROM coin_prices)),
                (SELECT max(ingested_at) FROM thread_ops)) AS heard,
       greatest((SELECT max(snapshot_at) FROM catalog_snapshots), (SELECT max(fetched_at) FROM warosu_days),
                (SELECT max(greatest(bucket_start, computed_at)) FROM fear_greed_index)) AS latest
"""


@dataclass(frozen=True)
class Witnesses:
    """Sources that tell the time: addresses, asked in their order, and how they are asked."""

    urls: tuple[str, ...]
    seconds_per_request: float
    contact: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Witnesses":
        """Return the sources of one installation."""
        seconds = max(settings.fourchan_seconds_per_request, settings.warosu_seconds_per_request)
        return cls(witness_urls(settings), seconds, settings.contact)

    def ask(self) -> tuple[datetime, str] | None:
        """Return the time (naive UTC) of the first source that tells it, and its address; ``None``: none does."""
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
    """Return small pages of the board and the archive."""
    board = settings.board
    return f"{settings.fourchan_api_url}/{board}/threads.json", f"{settings.warosu_url}/{board}/"


def check_clock(database: Database, home: Path, witnesses: Witnesses, now: datetime) -> None:
    """Return if the clock, which says ``now`` (naive UTC), may be believed.

    Raises:
        ClockDisagrees: a source tells another time; or nothing was heard of any for more than a day, and none answers.
    """
    heard, latest = _signs(database)
    if heard is None and latest is None:
        return  # nothing is there that could be lost
    if _problem(home, heard, latest, now, MAX_SKEW):
        _confirm(witnesses.ask(), _problem(home, heard, latest, now, MAX_DISAGREEMENT), now)


def check_clock_to_delete(database: Database, home: Path, witnesses: Witnesses, now: datetime) -> None:
    """Return if what is too old at ``now`` may be deleted: a source is always asked, and rows of the future are not
    accepted, as they hide which rows are the newest.

    Raises:
        ClockDisagrees: as :func:`check_clock`, or rows are dated after ``now``.
    """
    heard, latest = _signs(database)
    told = witnesses.ask()
    _confirm(told, _problem(home, heard, latest, now, MAX_DISAGREEMENT), now)
    if latest is not None and latest > now + (MAX_SKEW if told else MAX_DISAGREEMENT):
        raise ClockDisagrees(
            f"{database.path} has rows of the future, up to {latest:%Y-%m-%d %H:%M}: a clock was ahead once. Nothing "
            "was deleted; `bizcharts repair-clock` removes them."
        )


def _signs(database: Database) -> tuple[datetime | None, datetime | None]:
    with database.read() as connection:
        row = connection.execute(_SIGNS).fetchone()
    assert row
    return row[0], row[1]


def _problem(home: Path, heard: datetime | None, latest: datetime | None, now: datetime, most: timedelta) -> str | None:
    """Return why ``now`` needs a confirmation; ``None``: nothing that is known is more than ``most`` away from it."""
    if latest is not None and latest > now + most:
        return f"the database has rows of {latest:%Y-%m-%d %H:%M}"
    if heard is not None and abs(now - heard) > most:
        return f"the last poll was on {heard:%Y-%m-%d %H:%M}"
    newest = _newest_file(home)
    if newest is not None and newest > utc_now() + most:
        return f"files in {home} are of {newest:%Y-%m-%d %H:%M}"
    return None


def _newest_file(home: Path) -> datetime | None:
    """When a file of the home was written last, by the machine's clock; ``None`` under a simulated one."""
    if os.environ.get("BIZCHARTS_NOW"):
        return None
    try:
        with os.scandir(home) as entries:
            return from_epoch(max((entry.stat().st_mtime for entry in entries), default=0.0))
    except OSError:  # no home, or a file that has gone meanwhile
        return None


def _confirm(told: tuple[datetime, str] | None, problem: str | None, now: datetime) -> None:
    """Return if the source that ``told`` the time agrees, or if there is none and no ``problem`` that needs one."""
    if told is not None:
        check_against(now, *told)
    elif problem:
        raise ClockDisagrees(
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, but {problem}, and no source answers that could "
            "confirm it. Nothing was written or deleted; it goes on by itself once a source answers."
        )
