"""Maintenance of one installation: deletes expired data and returns the space to the file system."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.backup.drafts import FOLDER as DRAFTS
from bizcharts_pipeline.backup.drafts import remove_abandoned
from bizcharts_pipeline.core.files import remove_abandoned_files
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.images.store import FOLDER as PICTURES
from bizcharts_pipeline.images.withdrawal import expire_pictures, tidy_store
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger, ledger_threads
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse import retention
from bizcharts_pipeline.warehouse.compact import Compaction
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.retention import RuleReport
from bizcharts_pipeline.withdrawals import block_flagged

COLUMNS = ["what", "of", "rows", "about MB"]


@dataclass(frozen=True)
class MaintenanceReport:
    """Result of maintenance; in a dry run, the expected result."""

    dry_run: bool
    rules: tuple[RuleReport, ...]
    compaction: Compaction
    problem: str | None = None  # of the picture store

    def table(self) -> list[list[str]]:
        """Return one row per rule of maintenance with the columns :data:`COLUMNS`."""
        return [[rule.rule, rule.table, f"{rule.rows:,}", f"{rule.bytes / 1e6:,.1f}"] for rule in self.rules]

    def __str__(self) -> str:
        before, after, free = (
            f"{size / 1e6:,.1f} MB"
            for size in (self.compaction.bytes_before, self.compaction.bytes_after, self.compaction.free_bytes)
        )
        if self.compaction.done:
            return f"The database went from {before} to {after}."
        if self.compaction.worth_it:
            return f"The database has {before}, of which {free} are free: it would be rewritten."
        return f"The database has {before}, of which {free} are free for new rows."


def maintain(
    database: Database, home: Path, policy: RetentionSettings, now: datetime, *, dry_run: bool = False
) -> MaintenanceReport:
    """Maintain an installation daily: delete data that ``policy`` no longer keeps at ``now``, and shrink the database
    file if worthwhile.

    May be killed at any point and repeated; other processes get the database in between.

    Raises:
        DatabaseError: the database cannot be used; completed steps stay.
        LedgerError: the label ledger cannot be read; nothing was done, because labelled and gold threads must be kept.
    """
    labelled = ledger_threads(home, skipped=True)
    if is_known(home / LEDGER):  # a gold post whose label was taken back is still gold
        labelled += [post.thread_id for post in LabelLedger(home / LEDGER).gold()]
    flagged = block_flagged(database, home, now, dry_run=dry_run)
    rules = [RuleReport("pictures flagged as illegal", "thumbnails", flagged, 0)]
    if policy.image_days:
        older_than = now - timedelta(days=policy.image_days)
        expired = expire_pictures(database, home, older_than, labelled=labelled, dry_run=dry_run)
        rules.append(RuleReport("pictures", "thumbnails", expired.pictures, expired.bytes))
    rules += (retention.plan if dry_run else retention.apply)(database, policy, now, labelled)
    tidied = tidy_store(database, home, now, dry_run=dry_run)  # also files of deleted threads
    rules.append(RuleReport("files of no post", "pictures", tidied.orphans, tidied.bytes))
    rules.append(RuleReport("unfinished backups", "files", *remove_abandoned(home, dry_run=dry_run)))
    # The pictures' are removed with the files of no post, and the drafts' with their drafts.
    unfinished = remove_abandoned_files(home, but=(PICTURES, DRAFTS), dry_run=dry_run)
    rules.append(RuleReport("unfinished files", "files", *unfinished))
    return MaintenanceReport(dry_run, tuple(rules), database.compact(dry_run=dry_run), tidied.problem)
