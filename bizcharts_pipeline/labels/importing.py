"""Import of label rows from a file or database into the ledger; shared by all input formats.

An import loses nothing: valid labels go into the ledger with all values, invalid rows go to a quarantine file with line
and reason. Labels already in the ledger are skipped, so a file may be imported again, also under another name, and so
may an export. An import can be undone (:mod:`.undoing`); labels that a later import has too then still count. A file
without a new label is no import.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.labels.labellers import UNNAMED_LABELER, Spellings
from bizcharts_pipeline.labels.ledger import Label, LabelImport, LabelLedger
from bizcharts_pipeline.labels.scales import (
    MIN_RATINGS_TO_ASK,
    OURS,
    Scale,
    ScaleError,
    canonical,
    check_ratings,
    is_reversed,
    meanings,
    missing_end,
)
from bizcharts_pipeline.labels.stances import stance
from bizcharts_pipeline.labels.transfer_rows import (
    COLUMNS,
    BadRow,
    LabelFileError,
    RawRow,
    Rejected,
    is_skipped,
    label_of,
    values_of,
)
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseError
from bizcharts_pipeline.warehouse.labelled import times_of_posts

MAX_LABEL_BYTES = 1_000_000  # of text; the ledger keeps labels for ever
SHOWN = 10
CLOCK_TOLERANCE = timedelta(days=1)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as decoded by `surrogateescape`
TIME_ZONES = timedelta(days=1)  # a label may be dated in local time
# Of thread numbers with that many zeros at their ends together, one in 10 ** MIN_ZEROS would be so by chance.
MIN_ZEROS = 8
MIN_ROUNDED, MIN_TIMES_CHANCE = 3, 10  # rounded numbers among exact ones, which were added later
MIN_ROWS_OF_ONE = 5  # labels of a single number that ends in MIN_ZEROS_OF_ONE zeros
MIN_ZEROS_OF_ONE = 4
_ID_COLUMN = "id"  # of the original implementation's table

Key = tuple[int, str, datetime]


@dataclass(frozen=True)
class FileLabel:
    """A label from a file: its line, the row's text, and the columns present in the file."""

    line: int
    text: str
    label: Label
    columns: frozenset[str]


@dataclass(frozen=True)
class LabelFile:
    """Parsed content of a label file."""

    path: Path
    labels: tuple[FileLabel, ...]
    rejected: tuple[Rejected, ...]
    unknown_columns: tuple[str, ...]
    ratings: tuple[str, ...]  # ratings on the scale, in canonical form
    spellings: Mapping[str, str]  # labeller names in the file that are known in another spelling
    scale: Scale | None  # given by the user
    where: str  # unit of a row's line: line or row


@dataclass(frozen=True)
class ImportPlan:
    """Effects of importing a file."""

    file: LabelFile
    new: tuple[Label, ...]
    repeated: tuple[Label, ...]  # labels of the ledger that the file has too
    rejected: tuple[Rejected, ...]
    replaced: int  # new labels that rate differently than one of another file, labeller, post and time being equal
    outdated: int  # known labels that another file has replaced so
    ask_for_scale: bool  # the file may be on another scale than ours, and none was given

    @property
    def rows(self) -> int:
        """The number of rows in the label file."""
        return len(self.file.labels) + len(self.file.rejected)

    @property
    def known(self) -> int:
        """The number of labels already in the ledger."""
        return self.rows - len(self.new) - len(self.rejected)


@dataclass(frozen=True)
class ImportReport:
    """Result of an import: ``rows = new + known + len(rejected)``."""

    file: Path
    import_id: int | None  # for undoing it; None: the file had no new labels
    rows: int
    new: int
    known: int
    rejected: tuple[Rejected, ...]
    aside: Path | None  # quarantine file of the rejected rows
    unknown_columns: tuple[str, ...]
    notes: tuple[str, ...]  # for the user

    def __str__(self) -> str:
        lines = [
            f"{self.file.name}: {counted(self.rows, 'row')}: {counted(self.new, 'new label')}, "
            f"{self.known:,} already known"
        ]
        if self.unknown_columns:
            more = f" and {len(self.unknown_columns) - SHOWN:,} more" if len(self.unknown_columns) > SHOWN else ""
            names = ", ".join(f"{name:.40}" for name in self.unknown_columns[:SHOWN])
            lines.append(f"unknown columns, not imported: {names}{more}")
        lines += self.notes
        if self.rejected:
            lines += [
                f"{counted(len(self.rejected), 'rejected row')} kept in {self.aside}:",
                *named_lines(self.rejected),
            ]
        if self.import_id is not None:
            lines.append(f"import {self.import_id}; `bizcharts labels undo-import {self.import_id}` undoes it")
        return "\n".join(lines)


def named_lines(rejected: tuple[Rejected, ...]) -> list[str]:
    """Return one line for each of the first rejected rows of a label file, and one for the number of others."""
    more = [f"  and {len(rejected) - SHOWN:,} more"] if len(rejected) > SHOWN else []
    return [*(f"  {row}" for row in rejected[:SHOWN]), *more]


def collect(
    rows: Iterable[RawRow],
    path: Path,
    origin: str,
    *,
    scale: Scale | None = None,
    spellings: Spellings | None = None,
    where: str = "line",
) -> LabelFile:
    """Parse the ``rows`` of a label file into labels and rejected rows.

    Args:
        path: the file named in reports and errors.
        origin: of labels without an origin.
        scale: of the ratings, if given by the user.
        spellings: known names of labellers.
        where: unit of a row's ``line``, for messages.

    Raises:
        LabelFileError: the ratings are on another scale than the given one, or than ours if none was given; or the
            thread numbers are rounded.
    """
    spelled = spellings or Spellings()
    labels: list[FileLabel] = []
    rejected: list[Rejected] = []
    ratings: list[tuple[int, str]] = []
    unknown: dict[str, None] = {}
    renamed: dict[str, str] = {}
    for row in rows:
        try:
            if row.values is not None:
                rating = canonical(row.values.get("sentiment_rating"))
                if rating is not None and not is_skipped(row.values):
                    ratings.append((row.line, rating))
            label = _label(row, origin, scale or OURS)
        except BadRow as bad:
            rejected.append(Rejected(row.line, str(bad), row.text, where))
        else:
            written = str((row.values or {})["labeler_id"])
            label = replace(label, labeler_id=spelled.of(label.labeler_id))
            if written != label.labeler_id:
                renamed[written] = label.labeler_id
            labels.append(FileLabel(row.line, row.text, label, frozenset(row.values or ())))
        unknown |= dict.fromkeys(str(name) for name in row.values or () if name not in (*COLUMNS, _ID_COLUMN))
    threads = [entry.label.thread_id for entry in labels]
    if rounded := _rounded(threads):
        count, zeros = rounded
        many = "all its" if count == len(set(threads)) else f"{count:,} of its {len(set(threads)):,}"
        raise LabelFileError(
            f"{path}: {many} thread numbers end in {'0' * zeros}, so a spreadsheet has probably rounded them; nothing "
            "was imported. Take the numbers from the original file, and format their column as text before you save it."
        )
    try:
        check_ratings(ratings, scale, where)
    except ScaleError as error:
        raise LabelFileError(f"{path}: {error}") from None
    seen = tuple(rating for _, rating in ratings if rating in (scale or OURS).classes)
    return LabelFile(path, tuple(labels), tuple(rejected), tuple(unknown), seen, renamed, scale, where)


def plan(file: LabelFile, ledger: LabelLedger, now: datetime) -> ImportPlan:
    """Compare the label ``file`` with the ledger and return the effects of importing it. Nothing is written.

    A row without the column ``origin`` gets the file's, and is known if the ledger has an equal label of any origin. A
    label that was taken back stays so; labels of an undone import may be imported again. Of several labels of one
    labeller and thread the newest counts. Of two that contradict each other at the same time, the second is rejected if
    both are of one file (or origin); that of another file, such as a corrected one, replaces the first, and is counted.

    Raises:
        LabelFileError: the numbers within 1 to 3 may still be on another scale, and none was given.
        LedgerError: the ledger cannot be read.
    """
    present = ledger.not_retracted() if is_known(ledger.path) else []
    foreign = file.scale is None and not any("origin" in entry.columns for entry in file.labels)
    if foreign:
        _check_meaning(file, ledger)
    known: dict[Key, list[Label]] = defaultdict(list)
    for label in present:
        known[_key(label)].append(label)
    new: list[Label] = []
    repeated: list[Label] = []
    rejected = list(file.rejected)
    replaced = outdated = 0
    for entry in file.labels:
        if "origin" not in entry.columns and entry.label.labeled_at > now + CLOCK_TOLERANCE:
            rejected.append(_rejected(file, entry, f"labeled_at {entry.label.labeled_at} is in the future"))
            continue
        same = known[_key(entry.label)]
        mine = [label for label in same if label.origin == entry.label.origin]
        if equal := [label for label in (mine if "origin" in entry.columns else same) if _equals(label, entry)]:
            repeated += equal
            outdated += same[-1].sentiment_rating != entry.label.sentiment_rating
            continue
        if mine:
            reason = "another label of the same thread, labeller and time is in the ledger, or above in the file"
            rejected.append(_rejected(file, entry, reason))
            continue
        replaced += any(label.sentiment_rating != entry.label.sentiment_rating for label in same)
        same.append(entry.label)
        new.append(entry.label)
    rejected.sort(key=lambda row: row.line)
    return ImportPlan(file, tuple(new), tuple(repeated), tuple(rejected), replaced, outdated, ask_for_scale=foreign)


def carry_out(plan: ImportPlan, ledger: LabelLedger, aside: Path, now: datetime) -> ImportReport:
    """Write the new labels of an import's plan into the ledger, in one transaction, and its rejected rows to a file in
    ``aside``.

    Without new labels the ledger is not opened.

    Raises:
        LedgerError: the ledger cannot be written; a repeated import continues.
    """
    file, rejected = plan.file, plan.rejected
    kept = _quarantine(file.path, rejected, aside) if rejected else None
    scale = (file.scale or OURS).name
    record = None
    if plan.new:
        record = ledger.add_import(
            file.path.name,
            plan.new,
            now,
            scale=scale,
            known=plan.known,
            rejected=len(rejected),
            repeated=plan.repeated,
        )
    added = record.labels if record else 0
    return ImportReport(
        file=file.path,
        import_id=record.import_id if record else None,
        rows=plan.rows,
        new=added,
        known=plan.rows - added - len(rejected),
        rejected=rejected,
        aside=kept,
        unknown_columns=file.unknown_columns,
        notes=(*_replaced_note(plan), *_notes(file, plan.new, record if plan.ask_for_scale else None)),
    )


def notes_of_posts(file: LabelFile, database: Database) -> list[str]:
    """Return notes for the user if ``database`` does not have the posts of all labels in ``file``, or if labels are
    dated before their posts; none if it cannot be read."""
    threads = {entry.label.thread_id for entry in file.labels}
    posted: dict[int, datetime] = {}
    try:
        if database.exists():
            with database.read() as connection:
                posted = times_of_posts(connection, threads)
    except DatabaseError:
        return []
    notes = []
    if unknown := len(threads) - len(posted):
        notes.append(
            f"{unknown:,} of its {counted(len(threads), 'thread')} {'is' if unknown == 1 else 'are'} not in the "
            "database: check the numbers, or import those days from the archive (`bizcharts import --from DAY`)"
        )
    labels = [entry.label for entry in file.labels if entry.label.thread_id in posted]
    if early := sum(label.labeled_at < posted[label.thread_id] - TIME_ZONES for label in labels):
        notes.append(
            f"{counted(early, 'label')} {'is' if early == 1 else 'are'} dated before the post was made: check "
            "labeled_at"
        )
    return notes


def _rounded(threads: Sequence[int]) -> tuple[int, int] | None:
    """Return how many different numbers end in how many zeros, if that is no chance: all, or several among exact
    ones."""
    if not threads:
        return None
    zeros = sorted((len(str(thread)) - len(str(thread).rstrip("0")) for thread in set(threads)), reverse=True)
    least, many = zeros[-1], len(zeros)
    if least * many >= MIN_ZEROS or (least >= MIN_ZEROS_OF_ONE and len(threads) >= MIN_ROWS_OF_ONE):
        return many, least
    several = [(count, zeros[count - 1]) for count in range(MIN_ROUNDED, many)]
    count, shared = max(several, key=lambda found: found[0] * 10 ** found[1], default=(0, 0))
    is_no_chance = count * shared >= MIN_ZEROS and count * 10**shared >= MIN_TIMES_CHANCE * many
    return (count, shared) if is_no_chance else None


def _label(row: RawRow, origin: str, scale: Scale) -> Label:
    if _NOT_UTF8.search(row.text):
        raise BadRow("bytes that are not UTF-8")
    if row.values is None:
        raise BadRow(row.problem)
    label = label_of(row.values, origin, scale)
    if sum(len(value.encode()) for value in label.values() if isinstance(value, str)) > MAX_LABEL_BYTES:
        raise BadRow(f"more than {MAX_LABEL_BYTES:,} bytes of text")
    return label


def _check_meaning(file: LabelFile, ledger: LabelLedger) -> None:
    """Refuse numbers within 1 to 3 whose meaning is uncertain.

    That is so if many ratings include a 2 but never a 1, or never a 3, or if they contradict the ledger's labels of the
    same posts.
    """
    absent = missing_end(file.ratings)
    if absent and len(set(file.ratings)) > 1 and len(file.ratings) >= MIN_RATINGS_TO_ASK:
        raise LabelFileError(
            f"{file.path}: {absent}, so it may be on another scale; nothing was imported. If 1 is bearish, 2 neutral "
            "and 3 bullish there, import it with `--scale 1-3`; else give its scale, or the meaning of each rating: "
            f"`--scale {meanings(set(file.ratings))}`."
        )
    opposite, same = _compare(file, ledger)
    if is_reversed(opposite, same):
        raise LabelFileError(
            f"{file.path}: its ratings of already labelled posts are opposite {opposite} times, and the same {same} "
            "times; nothing was imported. If 1 is bullish and 3 bearish there, import it with "
            "`--scale 1=bullish,2=neutral,3=bearish`; if the labellers do disagree so much, with `--scale 1-3`."
        )


def _compare(file: LabelFile, ledger: LabelLedger) -> tuple[int, int]:
    """Return the numbers of posts, bearish or bullish in both, that the file rates opposite to the ledger, and the
    same.
    """
    here = {entry.label.thread_id: entry.label.sentiment_rating for entry in file.labels}
    pairs = [
        (rating, here[label.thread_id])
        for label in (ledger.newest() if is_known(ledger.path) else [])
        if label.thread_id in here and (rating := label.sentiment_rating) in (1, 3)
    ]
    return sum(theirs == 4 - ours for ours, theirs in pairs), sum(theirs == ours for ours, theirs in pairs)


def _replaced_note(plan: ImportPlan) -> list[str]:
    notes = []
    if plan.replaced:
        rates = counted(plan.replaced, "new label rates", "new labels rate")
        notes.append(f"{rates} differently than a known one of the same labeller, post and time; the new one counts")
    if plan.outdated:
        known = counted(plan.outdated, "known label does", "known labels do")
        notes.append(f"{known} not count: a later import has replaced them; undo that one to use them")
    return notes


def _notes(file: LabelFile, new: Iterable[Label], record: LabelImport | None) -> Iterable[str]:
    for written, name in file.spellings.items():
        yield f"labeller {written!r:.60} is imported as {name!r:.60}"
    if unnamed := sum(
        entry.label.labeler_id == UNNAMED_LABELER for entry in file.labels if "origin" not in entry.columns
    ):
        yield f"{counted(unnamed, 'label')} of {UNNAMED_LABELER!r}, the labeller of those without a name"
    ratings: dict[tuple[int, str], set[int | None]] = defaultdict(set)
    for label in new:
        ratings[label.thread_id, label.labeler_id].add(label.sentiment_rating)
    if again := sum(len(each) > 1 for each in ratings.values()):
        yield (
            f"{counted(again, 'post is', 'posts are')} rated differently by the same "
            f"labeller at different times: the newest counts"
        )
    seen = {(file.scale or OURS).classes[rating] for rating in file.ratings}
    if file.scale and len(seen) == 1 and len(set(file.ratings)) > 1:
        yield (
            f"on the scale {file.scale.name} all its {len(file.ratings):,} ratings are {stance(seen.pop())}: if that "
            "is wrong, undo the import and give another `--scale`"
        )
    if record and (absent := missing_end(file.ratings)):
        yield f"{absent}: if 1 is not bearish, 2 neutral and 3 bullish there, undo the import and give its `--scale`"


def _key(label: Label) -> Key:
    return label.thread_id, label.labeler_id, label.labeled_at


def _equals(label: Label, entry: FileLabel) -> bool:
    """Whether ``label`` has the values of all columns in the file."""
    there, here = values_of(label), values_of(entry.label)
    return all(there[column] == here[column] for column in entry.columns if column in there)


def _rejected(file: LabelFile, entry: FileLabel, reason: str) -> Rejected:
    return Rejected(entry.line, reason, entry.text, file.where)


def _quarantine(path: Path, rejected: Iterable[Rejected], folder: Path) -> Path:
    rows = [{"line": row.line, "reason": row.reason, "row": row.text} for row in rejected]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    kept = folder / f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
    write_atomically(kept, content)
    return kept
