"""Taking over the database of the first implementation (``posts.db``)."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.progress import Track, silently
from bizcharts_pipeline.sources.original import OriginalDatabase, OriginalLabel, OriginalThread, read_original
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.snapshots import Snapshot, insert_snapshots
from bizcharts_pipeline.warehouse.threads import Sighting, merge_threads

ORIGIN = "posts.db"
_NOT_TAKEN = (
    "Not taken, as it is computed anew from the texts: coin mentions, sentiment scores. "
    "Not taken, as it is personal data: names, tripcodes."
)


@dataclass(frozen=True)
class TakeoverReport:
    """What was taken over, and what was not and why. A second run finds nothing new."""

    threads: int
    new_threads: int
    snapshots: int
    new_snapshots: int
    labels: int
    new_labels: int
    skipped: dict[str, int]  # rows by the reason why they could not be taken

    def __str__(self) -> str:
        lines = [
            f"threads    {self.threads:>9,} read, {self.new_threads:,} new",
            f"polls      {self.snapshots:>9,} read, {self.new_snapshots:,} new",
            f"labels     {self.labels:>9,} read, {self.new_labels:,} new in the label ledger",
            *(f"skipped    {count:>9,} {reason}" for reason, count in sorted(self.skipped.items())),
            _NOT_TAKEN,
            "Scores and index follow with the next run of the job `history`.",
        ]
        return "\n".join(lines)


def take_over(
    path: Path, database: Database, home: Path, board: str, now: datetime, track: Track = silently
) -> TakeoverReport:
    """Take posts and polls of ``path`` into the warehouse and its labels into the ledger of ``home``; idempotent.

    Raises:
        OriginalDatabaseError: the file is no such database.
        DatabaseError, LedgerError: the warehouse or the ledger cannot be written; a repeated run goes on.
    """
    original = read_original(path, board)
    threads, new_threads = _take_threads(original, database, now, track)
    snapshots, new_snapshots = _take_snapshots(original, database)
    labels = [_label(label) for label in original.labels()]
    new_labels = LabelLedger(home / LEDGER).append(labels)
    return TakeoverReport(
        threads, new_threads, snapshots, new_snapshots, len(labels), new_labels, dict(original.skipped)
    )


def _take_threads(original: OriginalDatabase, database: Database, now: datetime, track: Track) -> tuple[int, int]:
    read = new = 0
    for batch in track(original.threads(), f"Posts of {original.path.name}", total=original.thread_batches()):
        prepared = [read_thread(entry.thread) for entry in batch]
        sightings = {entry.thread.thread_id: sighting for entry in batch if (sighting := _sighting(entry))}
        with database.write() as connection:
            new += merge_threads(connection, prepared, ingested_at=now, seen_at=sightings).new
        read += len(batch)
    return read, new


def _take_snapshots(original: OriginalDatabase, database: Database) -> tuple[int, int]:
    snapshots = [
        Snapshot(poll.snapshot_at, poll.total_threads, poll.avg_reply_count, poll.top_coins)
        for poll in original.snapshots()
    ]
    with database.write() as connection:
        return len(snapshots), insert_snapshots(connection, snapshots)


def _sighting(entry: OriginalThread) -> Sighting | None:
    if entry.first_seen_at is None or entry.last_seen_at is None:
        return None
    return Sighting(entry.first_seen_at, entry.last_seen_at)


def _label(label: OriginalLabel) -> Label:
    return Label(
        thread_id=label.thread_id,
        sentiment_rating=label.sentiment_rating,
        labeler_id=label.labeler_id,
        labeled_at=label.labeled_at,
        skipped=label.skipped,
        notes=label.notes,
        text_snapshot=label.text_snapshot,
        image_url_snapshot=label.image_url_snapshot,
        origin=ORIGIN,
    )
