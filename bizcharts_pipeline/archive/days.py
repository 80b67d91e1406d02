"""Import of one day of the archive, from the first request to the warehouse."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from bizcharts_pipeline.archive.client import as_source_thread
from bizcharts_pipeline.archive.page_store import DayPages
from bizcharts_pipeline.archive.patience import Archive, ArchiveBlocked
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
FAILED_DAYS_IN_A_ROW = 3  # then the archive is the cause, not the day
_log = logging.getLogger(__name__)
T = TypeVar("T")


class DayNotOver(BizchartsError):
    """The day has not ended yet."""


class IncompleteDay(SourceError):
    """The archive did not return the complete day; the received posts are stored."""


@dataclass(frozen=True)
class DayReport:
    """Result for one day. ``fetched`` is false if it was already complete."""

    day: date
    fetched: bool
    posts: int
    new: int  # of these, not in the warehouse before
    pages: int
    method: str
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.fetched:
            return f"{self.day}: already complete, {counted(self.posts, 'post')}"
        return (
            f"{self.day}: {counted(self.posts, 'post')}, {self.new:,} new, from "
            f"{counted(self.pages, f'{self.method} page')}"
        )


@dataclass(frozen=True)
class DaysReport:
    """Result for several days: the number of posts of the complete ones, and the reason of each other one."""

    days: int
    posts: int
    failed: Mapping[date, str]

    def __str__(self) -> str:
        lost = f"; {counted(len(self.failed), 'day')} failed: {', '.join(map(str, self.failed))}" if self.failed else ""
        return f"{counted(self.days - len(self.failed), 'complete day')}, {counted(self.posts, 'post')}{lost}"


def import_day(archive: Archive, database: Database, day: date, now: datetime, *, again: bool = False) -> DayReport:
    """Import a UTC day of the archive into the warehouse; a complete day is skipped unless ``again`` is set.

    A run after a killed one continues at the same page. Idempotent.

    Raises:
        IncompleteDay: the archive stopped before the day's end; the received posts are stored.
        ArchiveBlocked: the archive refuses; no further requests should be sent now.
        SourceError: a page is malformed; it is quarantined, and nothing of the day is stored.
        DayNotOver: the day has not ended.
    """
    if midnight(day + DAY) > now:
        raise DayNotOver(f"{day} has not ended yet (UTC); name an earlier day")
    pages = DayPages(archive, day, now)
    item = f"archive day {day}"
    if not again:
        known = _with_retries(lambda: _load(database, day))
        if known and known.complete:
            pages.discard()
            archive.attempts.forget(item)  # of a run that was killed when it had stored the day
            return DayReport(day, False, known.rows, 0, 0, known.method)
    result = walk_day(archive, pages, day, now)
    try:
        with archive.attempts.attempt(item) as attempt:
            threads = [read_thread(as_source_thread(post, result.counts.get(post.number))) for post in result.posts]
            row = ArchiveDay(day, len(threads), pages.read, result.missing is None, now, result.method, result.missing)
            merged = _with_retries(lambda: _record(database, row, threads, attempt))
    except SetAside as error:
        archive.attempts.forget(item)  # a new request may try again; the other days were not blocked
        raise IncompleteDay(str(error)) from error
    pages.discard()
    if result.missing:
        raise IncompleteDay(f"{day}: {result.missing} ({len(threads):,} posts of it are stored)")
    return DayReport(day, True, len(threads), merged.new, pages.read, result.method, result.problems)


def import_days(
    archive: Archive,
    database: Database,
    days: Sequence[date],
    clock: Callable[[], datetime],
    imported: Callable[[DayReport, int], object],
    failed: Callable[[date, SourceError], object],
    *,
    again: bool = False,
) -> DaysReport:
    """Import days of the archive one after the other; one that fails does not hold up the next.

    Args:
        imported: told each day that is complete, with its place among ``days``, from 1.
        failed: told each other day, with the reason.
        again: as in :func:`import_day`.

    Raises:
        ArchiveBlocked: the archive refuses; the days before are stored.
        SourceError: several days in a row failed; the archive is then left alone for a while.
    """
    posts, in_a_row, problems = 0, 0, {}
    for number, day in enumerate(days, start=1):
        try:
            report = import_day(archive, database, day, clock(), again=again)
        except ArchiveBlocked:
            raise
        except SourceError as error:
            problems[day] = str(error)
            in_a_row += 1
            failed(day, error)
            if in_a_row == FAILED_DAYS_IN_A_ROW:
                archive.rest()
                raise
            continue
        in_a_row = 0
        posts += report.posts
        imported(report, number)
    return DaysReport(len(days), posts, problems)


def _load(database: Database, day: date) -> ArchiveDay | None:
    with database.read() as connection:
        return load_day(connection, day)


def _record(database: Database, row: ArchiveDay, threads: Sequence[PreparedThread], attempt: Attempt) -> MergeResult:
    with attempt.waiting_for(database.write) as connection:
        return record_day(connection, row, threads)


def _with_retries(use: Callable[[], T]) -> T:
    """Wait for hours for a busy database: a shell left open must not spoil a night's backfill."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return use()
        except DatabaseBusy as error:
            if time.monotonic() > until:
                raise
            _log.warning("%s; trying again", error)
            time.sleep(BUSY_PAUSE_SECONDS)
