"""The label ledger as tables: what the warehouse, and everything that learns, sees of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.labels import (
    KEY,
    LABEL_COLUMNS,
    Row,
    label_changes,
    replace_gold,
    stored_labels,
)
from bizcharts_pipeline.warehouse.values import storable

_KEY = [list(LABEL_COLUMNS).index(name) for name in KEY]


@dataclass(frozen=True)
class LabelsReport:
    """What ``training_labels`` and ``gold_split`` hold now, and what this changed."""

    labels: int  # that stand, superseded ones included
    added: int
    removed: int  # taken back since, or never of the ledger
    taken_back: int  # labels of the ledger that were taken back
    of_the_future: int  # dated after ``now``: a clock was wrong
    gold: int


def materialise_labels(database: Database, ledger: LabelLedger, now: datetime) -> LabelsReport:
    """Bring ``training_labels`` and ``gold_split`` to what the ledger says; only what differs is written.

    Every label that stands is a row; of several of one labeller and thread the one with the latest ``labeled_at``
    counts. Where the ledger has two of the same moment, the one that came later is dated a microsecond later here.

    Raises:
        LedgerError: the ledger cannot be read.
        DatabaseError: the warehouse cannot be read or written.
    """
    labels = ledger.standing()
    wanted = _by_key(tuple(map(_as_stored, label.values())) for label in _one_after_another(labels))
    with database.read() as connection:
        present = _by_key(stored_labels(connection))
    different = [key for key in {**present, **wanted} if present.get(key) != wanted.get(key)]
    added = [row for key in different for row in wanted.get(key, Counter()).elements()]
    gold = ledger.gold()
    statements = label_changes(different, added)
    with database.write() as connection:
        for statement in statements:
            connection.execute(statement)
        replace_gold(connection, _gold_rows(gold))
    return LabelsReport(
        labels=len(labels),
        added=len(added),
        removed=sum(present[key].total() for key in different if key in present),
        taken_back=ledger.count() - len(labels),
        of_the_future=sum(label.labeled_at > now for label in labels),
        gold=len(gold),
    )


def materialise_gold(database: Database, ledger: LabelLedger) -> int:
    """Bring ``gold_split`` alone to what the ledger says; return its size."""
    gold = ledger.gold()
    with database.write() as connection:
        replace_gold(connection, _gold_rows(gold))
    return len(gold)


def _one_after_another(labels: Iterable[Label]) -> Iterator[Label]:
    """Yield the labels, no two of the same labeller, thread and moment; what is newest stays so."""
    latest: dict[tuple[int, str], datetime] = {}
    for label in sorted(labels, key=lambda label: label.labeled_at):  # of equal ones the order of arrival stays
        of_whom = label.thread_id, label.labeler_id
        if of_whom in latest and label.labeled_at <= latest[of_whom]:
            label = replace(label, labeled_at=latest[of_whom] + timedelta(microseconds=1))
        latest[of_whom] = label.labeled_at
        yield label


def _by_key(rows: Iterable[Row]) -> dict[Row, Counter[Row]]:
    found: dict[Row, Counter[Row]] = defaultdict(Counter)
    for row in rows:
        found[tuple(row[index] for index in _KEY)][row] += 1
    return dict(found)


def _as_stored(value: object) -> object:
    return storable(value) if isinstance(value, str | float) else value


def _gold_rows(gold: Iterable[GoldPost]) -> list[tuple[int, str, datetime]]:
    return [(post.thread_id, post.period, post.frozen_at) for post in gold]
