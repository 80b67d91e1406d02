"""Recovery of a lost label ledger from the database.

Opening a missing ledger creates an empty one. Projecting that into the database would erase the last copy of people's
labels, and gold could be used for training. ``bizcharts labels restore`` copies the labels and gold of the database
into the ledger. Labels that were taken back are not in the database, so they are not recovered.
"""

from collections import Counter
from dataclasses import dataclass

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.ledgers import forget, is_known, is_lost, place
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labelled import stored_gold
from bizcharts_pipeline.warehouse.labels import stored_labels
from bizcharts_pipeline.warehouse.values import storable


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
        LedgerLost: the database has labels or gold that the ledger lacks.
        LedgerError: the ledger cannot be read.
    """
    if problem := ledger_problem(database, ledger):
        raise LedgerLost(problem)


def ledger_problem(database: Database, ledger: LabelLedger) -> str | None:
    """Return what of the database's labels and gold the label ledger lacks and what to do; ``None`` if it has all.

    Labels are never deleted from a ledger. They are compared by thread, labeller and origin: the database may hold a
    label with a time that is a microsecond later. A missing ledger is not created.

    Raises:
        LedgerError: the ledger cannot be read.
        DatabaseError: the database cannot be read.
    """
    with database.read() as connection:
        labels, gold = stored_labels(connection), stored_gold(connection)
    is_there = bool(labels or gold) and is_known(ledger.path) and not is_lost(ledger.path)
    known = ledger.all() if is_there else []
    frozen = {post.thread_id for post in ledger.gold()} if is_there else set()
    missing_gold = sum(thread_id not in frozen for thread_id, *_ in gold)
    missing = (Counter(_key(Label(*row)) for row in labels) - Counter(map(_key, known))).total()
    if not missing and not missing_gold:
        return None
    emptied = labels and not known
    what = [counted(missing_gold, "gold post")] if missing_gold else []
    what += ["all labels" if emptied else counted(missing, "label")] if missing else []
    return (
        f"{place(ledger.path)} lacks {' and '.join(what)} of the database: it was lost, or replaced by an older one. "
        "Restore the newest copy of the file; or rebuild it from the database with `bizcharts labels restore`."
    )


def _key(label: Label) -> tuple[int, object, object]:
    return label.thread_id, storable(label.labeler_id), storable(label.origin)


def restore_ledger(database: Database, ledger: LabelLedger) -> Recovered:
    """Copy the labels and gold of the database into the ledger; existing entries stay unchanged. A lost ledger is
    created again.

    Raises:
        DatabaseError: the database cannot be read.
        LedgerError: the ledger cannot be read or written.
    """
    with database.read() as connection:
        labels, gold = stored_labels(connection), stored_gold(connection)
    forget(ledger.path)
    return Recovered(
        ledger.append([Label(*row) for row in labels]),
        ledger.freeze_gold([GoldPost(*row) for row in gold]),
    )
