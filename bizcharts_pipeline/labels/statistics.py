"""Statistics of labels: counts, classes, labellers, speed and agreement."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.agreement import Agreement, agreements, newest
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.pictures import REMEDIES
from bizcharts_pipeline.labels.stances import STANCES, stance
from bizcharts_pipeline.labels.transfer import read_labels
from bizcharts_pipeline.labels.undoing import gold_without_label

DAYS_A_LINE = 5
IDLE_SECONDS = 60  # a labeller who took longer was away from the page
DAYS_SHOWN = 14
UNKNOWN = "unknown"
SKIPPED = "skipped"
_DECISIONS = (*STANCES, SKIPPED)
_SKIP_NOTE = re.compile(r"skip: ([^;]+)")  # as written by the labeller's page

Counts = dict[str, int]


@dataclass(frozen=True)
class LabelStatistics:
    """Label counts, by default of each labeller's newest label of each post; days and seconds are of all standing
    labels.

    Dictionaries of dictionaries count bearish, neutral, bullish and skipped.
    """

    labels: int  # standing labels, including superseded ones
    posts: int
    rated: int
    skipped: int
    rejected: int  # invalid rows of a file; 0 for the ledger
    gold: int
    gold_without_label: int  # gold posts whose labels were undone or taken back
    imports: int  # files that were imported and not undone
    undone_imports: int
    classes: Counts
    by_labeller: dict[str, Counts]
    by_month: dict[str, Counts]  # of the post, UTC
    by_stratum: dict[str, Counts]  # why the post was offered
    skips_by_reason: Counts
    flags: Counts
    median_seconds: dict[str, float]  # by labeller; longer than a minute counts as idle and is left out
    per_day: Counts  # by the UTC day of labelling
    agreement: tuple[Agreement, ...]
    without_picture: int | None = None  # rated posts that the data set leaves out; None: not counted
    worth: str | None = None  # what more labels would add; None: unknown

    def __str__(self) -> str:
        lines = [
            f"{counted(self.labels, 'label')} of {counted(self.posts, 'post')}, {self.gold:,} of them gold",
            f"the newest of each labeller: {self.rated:,} rated, {self.skipped:,} skipped",
        ]
        if self.rejected:
            lines.append(counted(self.rejected, "invalid row"))
        if self.gold_without_label:
            lines.append(
                counted(
                    self.gold_without_label,
                    "gold post has no label now: it is used neither for training nor for testing",
                    "gold posts have no label now: they are used neither for training nor for testing",
                )
            )
        if self.imports or self.undone_imports:
            lines.append(
                f"{counted(self.imports, 'import')}, {self.undone_imports:,} undone; "
                f"`bizcharts labels imports` lists them"
            )
        if self.without_picture:
            lines.append(
                f"{counted(self.without_picture, 'rated post has', 'rated posts have')} no "
                f"stored picture, so `sharegpt_dataset` leaves them out:"
            )
            lines += [f"  {remedy}" for remedy in REMEDIES]
        for title, counts in (
            ("labeller", self.by_labeller),
            ("month of post", self.by_month),
            ("offered as", self.by_stratum),
        ):
            lines += ["", *_table(title, counts)]
        for title, count in (("skipped because", self.skips_by_reason), ("flags", self.flags)):
            if count:
                lines += ["", f"{title}: " + ", ".join(f"{name} {number:,}" for name, number in count.items())]
        if self.median_seconds:
            pace = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.median_seconds.items())
            lines += ["", f"median seconds per label: {pace}"]
        days = list(self.per_day.items())[-DAYS_SHOWN:]
        shown = [f"{day} {number:,}" for day, number in days]
        lines += ["", "labels per day:"] if shown else []
        for first in range(0, len(shown), DAYS_A_LINE):
            lines.append(f"  {', '.join(shown[first : first + DAYS_A_LINE])}")
        for each in self.agreement:
            lines += ["", str(each)]
        if self.worth:
            lines += ["", self.worth]
        return "\n".join(lines)


def ledger_statistics(ledger: LabelLedger, relabelled_after: timedelta) -> LabelStatistics:
    """Return the statistics of the label ledger; ratings repeated after ``relabelled_after`` give the self-agreement.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    imports = ledger.imports()
    undone = sum(each.retracted_at is not None for each in imports)
    return replace(
        label_statistics(ledger.standing(), relabelled_after, gold=len(ledger.gold())),
        gold_without_label=len(gold_without_label(ledger)),
        imports=len(imports) - undone,
        undone_imports=undone,
    )


def file_statistics(path: Path, relabelled_after: timedelta) -> LabelStatistics:
    """Return the statistics of a label file without importing it.

    Raises:
        LabelFileError: the file cannot be read, or its ratings are on another scale than 1 to 3.
    """
    file = read_labels(path)
    labels = [entry.label for entry in file.labels]
    return label_statistics(labels, relabelled_after, rejected=len(file.rejected))


def label_statistics(
    labels: Sequence[Label], relabelled_after: timedelta, *, gold: int = 0, rejected: int = 0
) -> LabelStatistics:
    """Return the statistics of the standing ``labels``, which are in order of arrival; figures of imports are 0."""
    current = newest(labels)
    decisions = Counter(decision(label) for label in current)
    return LabelStatistics(
        labels=len(labels),
        posts=len({label.thread_id for label in current}),
        rated=sum(decisions[name] for name in STANCES),
        skipped=decisions[SKIPPED],
        rejected=rejected,
        gold=gold,
        gold_without_label=0,
        imports=0,
        undone_imports=0,
        classes={name: decisions[name] for name in STANCES},
        by_labeller=_by(current, lambda label: label.labeler_id),
        by_month=_by(current, lambda label: f"{label.posted_at:%Y-%m}" if label.posted_at else UNKNOWN),
        by_stratum=_by(current, lambda label: label.stratum or UNKNOWN),
        skips_by_reason=_counts(_skip_reason(label) for label in current if label.skipped),
        flags=_counts(label.flag for label in current if label.flag),
        median_seconds=_pace(labels),
        per_day=dict(sorted(Counter(f"{label.labeled_at:%Y-%m-%d}" for label in labels).items())),
        agreement=tuple(agreements(labels, relabelled_after)),
    )


def decision(label: Label) -> str:
    """Return the class of a label, or 'skipped'."""
    return SKIPPED if label.sentiment_rating is None else stance(label.sentiment_rating)


def streak(labels: Sequence[Label]) -> dict[str, int] | None:
    """Return the rating of the last run of equal labels by a labeller, and its length."""
    if not labels:
        return None
    rating, length = labels[-1].sentiment_rating or 0, 0
    for label in reversed(labels):
        if label.sentiment_rating != rating:
            break
        length += 1
    return {"rating": rating, "length": length}


def _skip_reason(label: Label) -> str:
    in_notes = _SKIP_NOTE.match(label.notes or "")
    return label.flag or (in_notes[1] if in_notes else "no reason given")


def _by(labels: Iterable[Label], group: Callable[[Label], str]) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    for label in labels:
        counts.setdefault(group(label), dict.fromkeys(_DECISIONS, 0))[decision(label)] += 1
    return dict(sorted(counts.items()))


def _counts(names: Iterable[str]) -> Counts:
    return dict(Counter(names).most_common())


def _pace(labels: Iterable[Label]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    for label in labels:
        if label.seconds is not None and label.seconds <= IDLE_SECONDS:
            seconds.setdefault(label.labeler_id, []).append(label.seconds)
    return {labeller: median(seconds[labeller]) for labeller in sorted(seconds)}


def _table(title: str, counts: dict[str, Counts]) -> list[str]:
    width = max(len(name) for name in (title, *counts))
    lines = [f"{title:<{width}}" + "".join(f"{name:>10}" for name in _DECISIONS)]
    return lines + [f"{name:<{width}}" + "".join(f"{n:>10,}" for n in row.values()) for name, row in counts.items()]
