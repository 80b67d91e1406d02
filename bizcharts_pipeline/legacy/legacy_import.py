"""Imports the database of the first implementation (``posts.db``)."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.attempts import Attempts, SetAside
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.labels.importing import (
    CLOCK_TOLERANCE,
    ImportReport,
    LabelFile,
    carry_out,
    collect,
    named_lines,
    notes_of_posts,
    plan,
)
from bizcharts_pipeline.labels.labellers import UNNAMED_LABELER, Spellings
from bizcharts_pipeline.labels.ledger import LEDGER, REJECTED, LabelLedger
from bizcharts_pipeline.labels.pictures import REMEDIES
from bizcharts_pipeline.labels.scales import Scale
from bizcharts_pipeline.labels.transfer_rows import RawRow, Rejected
from bizcharts_pipeline.legacy.posts_db import OriginalDatabase, OriginalThread, read_original
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.snapshots import Snapshot, insert_snapshots
from bizcharts_pipeline.warehouse.threads import Sighting, merge_threads

ORIGIN = "posts.db"
_NOT_TAKEN = (
    "Not imported, as they are computed again from the texts: coin mentions, sentiment scores. "
    "Not imported, as they are personal data: names, tripcodes."
)
_NEXT = (
    "The next run of the job `history` computes scores and index. The data set `sharegpt_dataset` leaves out "
    f"labelled posts without a stored picture: {', '.join(REMEDIES)}."
)


@dataclass(frozen=True)
class LegacyImportReport:
    """Counts of imported rows, and the rejected ones with their reasons. A second run imports nothing new."""

    threads: int
    new_threads: int
    snapshots: int
    new_snapshots: int
    labels: int
    new_labels: int
    skipped: dict[str, int]  # rows by the reason for skipping them
    rejected: tuple[Rejected, ...]  # quarantined labels
    aside: Path | None  # file of the quarantined labels
    import_id: int | None  # id of the label import, for undoing it; None: there was nothing new
    notes: tuple[str, ...]  # about the labels

    def __str__(self) -> str:
        lines = [
            f"threads    {self.threads:>9,} read, {self.new_threads:,} new",
            f"polls      {self.snapshots:>9,} read, {self.new_snapshots:,} new",
            f"labels     {self.labels:>9,} read, {self.new_labels:,} new in the label ledger",
            *(_skipped_line(count, reason) for reason, count in sorted(self.skipped.items())),
            *self.notes,
        ]
        if self.rejected:
            lines += [f"{counted(len(self.rejected), 'label')} moved to {self.aside}:", *named_lines(self.rejected)]
        if self.import_id is not None:
            lines.append(
                f"labels are import {self.import_id}; `bizcharts labels undo-import {self.import_id}` undoes it"
            )
        return "\n".join([*lines, _NOT_TAKEN, _NEXT])


def import_posts_db(
    path: Path,
    database: Database,
    home: Path,
    board: str,
    now: datetime,
    track: Track = silently,
    scale: Scale | None = None,
) -> LegacyImportReport:
    """Import posts and polls of the first implementation's database ``path`` into the warehouse, and its labels into
    the ledger of ``home``; idempotent.

    ``now`` is naive UTC; ``scale`` is the scale of the labels' ratings, if it was given.

    Raises:
        OriginalDatabaseError: the file is not such a database.
        LabelFileError: its ratings are on another scale than 1 to 3; nothing was imported.
        DatabaseError, LedgerError: the warehouse or the ledger cannot be written; a repeated run resumes.
    """
    original, ledger = read_original(path, board), LabelLedger(home / LEDGER)
    # Labels first, so that a file with another rating scale is refused before anything is written.
    planned = plan(_read_labels(original, ledger, scale), ledger, now)
    database.prepare()
    taken = carry_out(planned, ledger, home / REJECTED, now)
    threads, new_threads = _take_threads(original, database, Attempts.of_home(home), now, track)
    snapshots, new_snapshots = _take_snapshots(original, database, now)
    return LegacyImportReport(
        threads=threads,
        new_threads=new_threads,
        snapshots=snapshots,
        new_snapshots=new_snapshots,
        labels=taken.rows - len(taken.rejected),
        new_labels=taken.new,
        skipped=dict(original.skipped + _reasons(taken)),
        rejected=taken.rejected,
        aside=taken.aside,
        import_id=taken.import_id,
        notes=(*taken.notes, *notes_of_posts(planned.file, database)),
    )


def _read_labels(original: OriginalDatabase, ledger: LabelLedger, scale: Scale | None) -> LabelFile:
    spellings = Spellings(label.labeler_id for label in ledger.not_retracted()) if is_known(ledger.path) else None
    rows = _label_rows(original)
    return collect(rows, original.path, ORIGIN, scale=scale, spellings=spellings, where="training_labels, id")


def _label_rows(original: OriginalDatabase) -> Iterator[RawRow]:
    for number, row in original.labels():
        values = row | {"labeler_id": row["labeler_id"] or UNNAMED_LABELER}
        yield RawRow(number, json.dumps(row, default=repr), values)


def _skipped_line(count: int, reason: str) -> str:
    what, colon, why = reason.partition(": ")
    return f"skipped    {count:>9,} {what if count == 1 else what + 's'}{colon}{why}"


def _reasons(taken: ImportReport) -> Counter[str]:
    return Counter(f"label: {row.reason}" for row in taken.rejected)


def _take_threads(
    original: OriginalDatabase, database: Database, attempts: Attempts, now: datetime, track: Track
) -> tuple[int, int]:
    read = new = 0
    for stored in track(original.threads(), f"Posts of {original.path.name}", total=original.thread_batches()):
        batch = [
            entry
            for entry in stored
            if not _is_of_the_future(original, "thread: created_at", entry.thread.posted_at, now)
        ]
        read += len(batch)
        if not batch:
            continue
        named = f"posts {batch[0].thread.thread_id} to {batch[-1].thread.thread_id} of {original.path.name}"
        try:
            with attempts.attempt(named) as attempt:
                prepared = [read_thread(entry.thread) for entry in batch]
                sightings = {entry.thread.thread_id: sighting for entry in batch if (sighting := _sighting(entry))}
                with attempt.waiting_for(database.write) as connection:
                    new += merge_threads(connection, prepared, ingested_at=now, seen_at=sightings).new
        except SetAside as error:
            original.skipped[f"thread: {error}"] += len(batch)
    return read, new


def _take_snapshots(original: OriginalDatabase, database: Database, now: datetime) -> tuple[int, int]:
    snapshots = [
        Snapshot(poll.snapshot_at, poll.total_threads, poll.avg_reply_count, poll.top_coins)
        for poll in original.snapshots()
        if not _is_of_the_future(original, "snapshot: snapshot_at", poll.snapshot_at, now)
    ]
    with database.write() as connection:
        return len(snapshots), insert_snapshots(connection, snapshots)


def _is_of_the_future(original: OriginalDatabase, what: str, moment: datetime, now: datetime) -> bool:
    """Whether to skip a row: while the database has rows of the future, jobs refuse to write and to delete."""
    if moment <= now + CLOCK_TOLERANCE:
        return False
    original.skipped[f"{what} is in the future"] += 1
    return True


def _sighting(entry: OriginalThread) -> Sighting | None:
    if entry.first_seen_at is None or entry.last_seen_at is None:
        return None
    return Sighting(entry.first_seen_at, entry.last_seen_at)
