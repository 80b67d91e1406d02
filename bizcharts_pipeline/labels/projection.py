"""Projection of the label ledger into the warehouse tables ``training_labels`` and ``gold_split``."""

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
    """Content of ``training_labels`` and ``gold_split``, and the changes made."""

    labels: int  # standing labels, including superseded ones
    added: int
    removed: int  # taken back since, or not in the ledger
    taken_back: int  # labels in the ledger that were taken back
    of_the_future: int  # dated after ``now``: a clock was wrong
    gold: int


def materialise_labels(database: Database, ledger: LabelLedger, now: datetime) -> LabelsReport:
    """Update ``training_labels`` and ``gold_split`` in the database from the label ledger; only differences are
    written.

    Every standing label is a row; of several by one labeller for a thread, the one with the latest ``labeled_at``
    counts. If the ledger has two of the same moment, the later one gets a time one microsecond later.

    Raises:
        LedgerError: the ledger cannot be read.
        DatabaseError: the warehouse cannot be read or written.
    """
    labels = ledger.standing()
    wanted = _by_key(tuple(map(_as_stored, label.values())) for label in _distinct_times(labels))
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
    """Update only ``gold_split`` in the database from the label ledger; return its size."""
    gold = ledger.gold()
    with database.write() as connection:
        replace_gold(connection, _gold_rows(gold))
    return len(gold)


def _distinct_times(labels: Iterable[Label]) -> Iterator[Label]:
    """Yield the labels with distinct times per labeller and thread, in unchanged order."""
    latest: dict[tuple[int, str], datetime] = {}
    for label in sorted(labels, key=lambda label: label.labeled_at):  # stable: equal times keep the order of arrival
        key = label.thread_id, label.labeler_id
        if key in latest and label.labeled_at <= latest[key]:
            label = replace(label, labeled_at=latest[key] + timedelta(microseconds=1))
        latest[key] = label.labeled_at
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
