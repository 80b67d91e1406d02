"""Undoing an import: its labels no longer count, but stay in the ledger.

Gold is frozen by thread, so a gold post whose labels are all undone stays in the gold split and is not used for
training. It is not used for evaluation either until it is labelled again, and another post is drawn in its place.
"""

from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.ledger import LabelLedger

SHOWN = 20


@dataclass(frozen=True)
class UndoReport:
    """Result of undoing an import. Threads are sorted."""

    import_id: int
    file: str
    labels: int  # added by the import
    still_counted: int  # of them: also in a later import that is not undone
    no_longer_counted: int  # labels of the import, or of an earlier undone one, that no import keeps in force
    undone_now: bool  # False: it was undone before, and nothing changed
    retracted_at: datetime  # naive UTC
    gold_without_label: tuple[int, ...]  # gold posts of the import without a remaining rating
    gold_still_labelled: tuple[int, ...]  # gold posts of the import with other ratings

    def __str__(self) -> str:
        if not self.undone_now:
            first = (
                f"Import {self.import_id} ({self.file}) was already undone at {self.retracted_at:%Y-%m-%d %H:%M} UTC."
            )
        else:
            first = (
                f"Import {self.import_id} ({self.file}) is undone: "
                f"{counted(self.no_longer_counted, 'label')} no longer counted. The table "
                "`training_labels` loses them at the next run of the job `labelling`."
            )
        lines = [first]
        if self.still_counted:
            lines.append(
                counted(
                    self.still_counted,
                    "label of it still counts: a later import has it too.",
                    "labels of it still count: a later import has them too.",
                )
            )
        if self.gold_without_label:
            lines.append(
                f"{len(self.gold_without_label):,} gold posts have no label now; they stay frozen, and are used "
                "neither for training nor for evaluation until they are labelled again: "
                f"{_threads(self.gold_without_label)}"
            )
        if self.gold_still_labelled:
            lines.append(
                f"{len(self.gold_still_labelled):,} gold posts of it have other ratings too and stay gold: "
                f"{_threads(self.gold_still_labelled)}"
            )
        return "\n".join(lines)


def undo_import(ledger: LabelLedger, import_id: int, now: datetime) -> UndoReport:
    """Retract all labels of an import; does nothing if it was already undone. ``now`` is naive UTC.

    Raises:
        LedgerError: there is no such import, or the ledger cannot be used.
    """
    undone_now = ledger.retract(import_id, now)
    (record,) = (each for each in ledger.imports() if each.import_id == import_id)
    imported = ledger.imported(import_id)
    own, counting = [*imported, *ledger.repeated(import_id)], set(ledger.not_retracted())
    threads = {label.thread_id for label in own}
    without = set(gold_without_label(ledger))
    gold = [post.thread_id for post in ledger.gold() if post.thread_id in threads]
    return UndoReport(
        import_id=import_id,
        file=record.file,
        labels=record.labels,
        still_counted=sum(label in counting for label in imported),
        no_longer_counted=sum(label not in counting for label in own),
        undone_now=undone_now,
        retracted_at=record.retracted_at or now,
        gold_without_label=tuple(thread for thread in gold if thread in without),
        gold_still_labelled=tuple(thread for thread in gold if thread not in without),
    )


def gold_without_label(ledger: LabelLedger) -> list[int]:
    """Return the gold posts without a standing rating, in order."""
    rated = {label.thread_id for label in ledger.newest() if not label.skipped}
    return [post.thread_id for post in ledger.gold() if post.thread_id not in rated]


def _threads(threads: tuple[int, ...]) -> str:
    more = f" and {len(threads) - SHOWN:,} more (--json names all)" if len(threads) > SHOWN else ""
    return ", ".join(map(str, threads[:SHOWN])) + more
