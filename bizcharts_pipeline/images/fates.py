"""Detects deleted threads among those that left the catalogue, and purges their pictures.

A thread that drops off the board stays readable for about three days and is listed in ``archive.json``; a deleted one
is in neither list. So a thread that left, and is missing from two copies of the list some time apart, was deleted, and
its pictures are purged; a single copy may be outdated. Nothing is decided while an entry of the catalogue could not be
parsed, as that may be the thread. A thread that left before the list's period stays undecided, and its pictures are
left to retention. A thread that reappears was not deleted: its pictures are fetched again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.images.client import ImageClient
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.images.withdrawal import remove_files
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.pictures import deleted_pictures, withdraw_deleted
from bizcharts_pipeline.warehouse.thread_fates import (
    Fate,
    forget_returned,
    record_fates,
    returned_threads,
    undecided_threads,
)

# The list covers three days; the margin is for the part of a thread's life that polls may have missed.
LISTED_FOR = timedelta(days=2, hours=12)
# Two caches of one host may differ; a thread that left a moment ago may be in neither list. Also the minimum time
# between two checks of the list.
SETTLING = timedelta(minutes=10)


@dataclass(frozen=True)
class FateReport:
    """Counts of threads found to be archived or deleted, and of the purged pictures."""

    archived: int = 0
    deleted: int = 0
    purged_pictures: int = 0
    problem: str | None = None  # why nothing could be decided


def purge_deleted(database: Database, home: Path, client: ImageClient, now: datetime) -> FateReport:
    """Detect deleted threads, and remove the pictures of deleted threads and deleted files.

    Sends one request, and only if some thread is undecided.
    """
    with database.read() as connection:
        returned = returned_threads(connection)
    if returned:
        with database.write() as connection:
            forget_returned(connection)
    with database.read() as connection:
        undecided = undecided_threads(connection, since=now - LISTED_FOR, now=now, settling=SETTLING)
    fates, problem = _fates(client, undecided) if undecided else ({}, None)
    if fates:
        with database.write() as connection:
            record_fates(connection, fates, now)
    with database.read() as connection:
        purgeable = deleted_pictures(connection)
    if purgeable:
        with database.write() as connection:
            withdrawal = withdraw_deleted(connection)
            remove_files(PictureStore(home), withdrawal)
            purgeable = withdrawal.pictures
    decided = list(fates.values())
    return FateReport(decided.count("archived"), decided.count("deleted"), purgeable, problem)


def _fates(client: ImageClient, undecided: Mapping[int, bool]) -> tuple[Mapping[int, Fate], str | None]:
    try:
        archived = client.archived_threads()
    except SourceError as error:
        return {}, f"deleted threads cannot be detected: {error}"
    if not archived:
        return {}, f"deleted threads cannot be detected: {client.archive_list_url} is empty"
    return {thread: _fate(thread in archived, missed) for thread, missed in undecided.items()}, None


def _fate(listed: bool, missed_before: bool) -> Fate:
    if listed:
        return "archived"
    return "deleted" if missed_before else "missing once"
