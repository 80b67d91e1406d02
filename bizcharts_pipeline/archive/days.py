"""A day of the archive from the first request to the warehouse."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from bizcharts_pipeline.archive.client import as_source_thread
from bizcharts_pipeline.archive.page_store import DayPages
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.archive.walk import walk_day
from bizcharts_pipeline.core.attempts import Attempt, SetAside
from bizcharts_pipeline.core.clock import DAY, midnight
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.archive_days import ArchiveDay, load_day, record_day
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseBusy
from bizcharts_pipeline.warehouse.threads import MergeResult

BUSY_SECONDS = 2 * 3600.0
BUSY_PAUSE_SECONDS = 5.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class DayNotOver(BizchartsError):
    """A day of the future, or the running one."""


class IncompleteDay(SourceError):
    """The archive did not give a day to its end; what it gave is stored."""


@dataclass(frozen=True)
class DayReport:
    """What became of one day. ``fetched`` is false where it was complete already."""

    day: date
    fetched: bool
    posts: int
    new: int  # of them not in the warehouse before
    pages: int
    method: str
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.fetched:
            return f"{self.day}: complete already, {counted(self.posts, 'post')}"
        return (
            f"{self.day}: {counted(self.posts, 'post')}, {self.new:,} new, from "
            f"{counted(self.pages, f'{self.method} page')}"
        )


def import_day(archive: Archive, database: Database, day: date, now: datetime, *, again: bool = False) -> DayReport:
    """Take a UTC day of the archive into the warehouse; a complete day is left alone unless ``again``.

    A run that is killed goes on at the page where it was. Twice is as once.

    Raises:
        IncompleteDay: the archive stopped before the day's end; what came is stored, and the day is not complete.
        ArchiveBlocked: the archive refuses; nothing further shall be asked for now.
        SourceError: a page that is not what it should be; it is kept aside, nothing of the day is stored.
        DayNotOver: it still runs.
    """
    if midnight(day + DAY) > now:
        raise DayNotOver(f"{day} is not over yet (UTC); name an earlier day")
    pages = DayPages(archive, day, now)
    if not again:
        known = _patiently(lambda: _load(database, day))
        if known and known.complete:
            pages.discard()
            return DayReport(day, False, known.rows, 0, 0, known.method)
    result = walk_day(archive, pages, day, now)
    item = f"archive day {day}"
    try:
        with archive.attempts.attempt(item) as attempt:
            threads = [read_thread(as_source_thread(post, result.counts.get(post.number))) for post in result.posts]
            row = ArchiveDay(day, len(threads), pages.read, result.missing is None, now, result.method, result.missing)
            merged = _patiently(lambda: _record(database, row, threads, attempt))
    except SetAside as error:
        archive.attempts.forget(item)  # other days have had their turn, and somebody may ask for it anew
        raise IncompleteDay(str(error)) from error
    pages.discard()
    if result.missing:
        raise IncompleteDay(f"{day}: {result.missing} ({len(threads):,} posts of it are stored)")
    return DayReport(day, True, len(threads), merged.new, pages.read, result.method, result.problems)


def _load(database: Database, day: date) -> ArchiveDay | None:
    with database.read() as connection:
        return load_day(connection, day)


def _record(database: Database, row: ArchiveDay, threads: Sequence[PreparedThread], attempt: Attempt) -> MergeResult:
    with attempt.waiting_for(database.write) as connection:
        return record_day(connection, row, threads)


def _patiently(use: Callable[[], T]) -> T:
    """Try for hours to have a turn with the database: a shell left open must not burn a night's backfill."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return use()
        except DatabaseBusy as error:
            if time.monotonic() > until:
                raise
            _log.warning("%s; tried again", error)
            time.sleep(BUSY_PAUSE_SECONDS)
