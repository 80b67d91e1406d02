"""A label ledger that was lost: how that is noticed, and how it is written anew from the database.

Opening a missing ledger makes an empty one. Whoever then brought the database to what it says would erase the last
copy of people's labels, and gold would train. ``bizcharts labels restore`` puts what the database has of labels and
gold into the ledger. Labels that were taken back are not in the database, so they are not in the ledger that it makes.
"""

from dataclasses import dataclass

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labelled import has_labels, stored_gold
from bizcharts_pipeline.warehouse.labels import stored_labels


class LedgerLost(BizchartsError):
    """The database knows labels or gold that the label ledger lacks."""


@dataclass(frozen=True)
class Recovered:
    """What was put into the ledger that it did not have."""

    labels: int
    gold: int

    def __str__(self) -> str:
        return f"Put into the ledger: {counted(self.labels, 'label')}, {counted(self.gold, 'gold post')}."


def require_ledger(database: Database, ledger: LabelLedger) -> None:
    """Make sure that the label ledger is the one that the database's labels came from.

    Raises:
        LedgerLost: ``gold_split`` has posts that the ledger lacks, or ``training_labels`` has labels and the ledger
            has none.
    """
    frozen, count = {post.thread_id for post in ledger.gold()}, ledger.count()
    with database.read() as connection:
        lacking = [thread_id for thread_id, *_ in stored_gold(connection) if thread_id not in frozen]
        emptied = not count and has_labels(connection)
    if lacking or emptied:
        what = f"{counted(len(lacking), 'gold post')} of the database" if lacking else "all labels of the database"
        raise LedgerLost(
            f"{ledger.path} lacks {what}: it was lost, or an older one was put back. Put the newest copy of the file "
            "back; or write it anew from the database with `bizcharts labels restore`."
        )


def restore_ledger(database: Database, ledger: LabelLedger) -> Recovered:
    """Put into the ledger what the database has of labels and gold; what it has already stays as it is."""
    with database.read() as connection:
        labels, gold = stored_labels(connection), stored_gold(connection)
    return Recovered(
        ledger.append([Label(*row) for row in labels]),
        ledger.freeze_gold([GoldPost(*row) for row in gold]),
    )
