"""Withdrawal of pictures from the store and from all data sets that contain them."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.images import withdrawal
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.images.withdrawal import BlockReport
from bizcharts_pipeline.labels.gold import flagged_illegal
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.training.dataset import remove_withdrawn
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.pictures import pictures_of_threads

FLAGGED = "flagged as illegal by a labeller"


def block(database: Database, home: Path, what: int | str, reason: str, now: datetime) -> BlockReport:
    """Block a picture as :func:`bizcharts_pipeline.images.withdrawal.block` does, and remove the data sets with it.

    Raises:
        NothingToBlock: no such hash or thread, or no hash of the thread's picture is known.
    """
    report = withdrawal.block(database, home, what, reason, now)
    remove_withdrawn(database, home)
    return report


def block_flagged(database: Database, home: Path, now: datetime, *, dry_run: bool = False) -> int:
    """Block pictures flagged as illegal that the labelling page could not delete; return the number of deleted
    pictures. A dry run deletes nothing, and returns the number of those that would be deleted.

    Raises:
        LedgerError: the label ledger cannot be read.
    """
    if not is_known(home / LEDGER):
        return 0
    flagged = flagged_illegal(LabelLedger(home / LEDGER).standing())  # even if rated later
    if dry_run:
        with database.read() as connection:
            return pictures_of_threads(connection, flagged)
    pictures = 0
    for thread in sorted(flagged):
        with suppress(NothingToBlock):  # its pictures are unknown, so there is nothing to delete
            pictures += withdrawal.block(database, home, thread, FLAGGED, now).pictures
    remove_withdrawn(database, home)
    return pictures
