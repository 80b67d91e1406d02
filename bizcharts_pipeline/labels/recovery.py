"""Recovery of a lost label ledger from the database.

Opening a missing ledger creates an empty one. Projecting that into the database would erase the last copy of people's
labels, and gold could be used for training. ``bizcharts labels restore`` copies the labels and gold of the database
into the ledger. Labels that were taken back are not in the database, so they are not recovered.
"""

from dataclasses import dataclass

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labelled import has_labels, stored_gold
from bizcharts_pipeline.warehouse.labels import stored_labels


class LedgerLost(BizchartsError):
    """The database has labels or gold that the label ledger lacks."""


@dataclass(frozen=True)
class Recovered:
    """Numbers of labels and gold posts restored into the ledger."""

    labels: int
    gold: int

    def __str__(self) -> str:
        return f"Restored into the ledger: {counted(self.labels, 'label')}, {counted(self.gold, 'gold post')}."


def require_ledger(database: Database, ledger: LabelLedger) -> None:
    """Check that the label ledger is the one that the database's labels came from.

    Raises:
        LedgerLost: ``gold_split`` has posts that the ledger lacks, or ``training_labels`` has labels and the ledger is
            empty.
    """
    frozen, count = {post.thread_id for post in ledger.gold()}, ledger.count()
    with database.read() as connection:
        lacking = [thread_id for thread_id, *_ in stored_gold(connection) if thread_id not in frozen]
        emptied = not count and has_labels(connection)
    if lacking or emptied:
        what = f"{counted(len(lacking), 'gold post')} of the database" if lacking else "all labels of the database"
        raise LedgerLost(
            f"{ledger.path} lacks {what}: it was lost, or replaced by an older one. Restore the newest copy of the "
            "file; or rebuild it from the database with `bizcharts labels restore`."
        )


def restore_ledger(database: Database, ledger: LabelLedger) -> Recovered:
    """Copy the labels and gold of the database into the ledger; existing entries stay unchanged."""
    with database.read() as connection:
        labels, gold = stored_labels(connection), stored_gold(connection)
    return Recovered(
        ledger.append([Label(*row) for row in labels]),
        ledger.freeze_gold([GoldPost(*row) for row in gold]),
    )
