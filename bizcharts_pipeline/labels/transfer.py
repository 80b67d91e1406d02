"""Labels into the ledger and out of it, as files: CSV, JSON lines and SQL dumps in; CSV, JSON lines and Parquet out.

An import loses nothing: what is a label goes into the ledger with every value, what is none is put aside with its
line and the reason. What the ledger has already is left out, so a file may be imported again, also under another
name, and an export may come back.
"""

import codecs
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.files import write_atomically
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.transfer_csv import read_csv, write_csv
from bizcharts_pipeline.labels.transfer_json import read_jsonl, write_jsonl, write_parquet
from bizcharts_pipeline.labels.transfer_rows import (
    COLUMNS,
    BadRow,
    LabelFileError,
    RawRow,
    Rejected,
    label_of,
    rating_of,
    values_of,
)
from bizcharts_pipeline.labels.transfer_sql import read_dump

MAX_BYTES = 256 * 1024 * 1024
MAX_LABEL_BYTES = 1_000_000  # of text; the ledger keeps what it is given for ever
SHOWN = 10
DUMP = ".sql"

_READERS: dict[str, Callable[[str], Iterator[RawRow]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    DUMP: read_dump,
}
_WRITTEN = (".csv", ".jsonl", ".parquet")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of it

Key = tuple[int, str, datetime]


@dataclass(frozen=True)
class FileLabel:
    """A label of a file: its line, its text there, and the columns that the file has of it."""

    line: int
    text: str
    label: Label
    columns: frozenset[str]


@dataclass(frozen=True)
class LabelFile:
    """What a file holds."""

    path: Path
    labels: tuple[FileLabel, ...]
    rejected: tuple[Rejected, ...]
    unknown_columns: tuple[str, ...]


@dataclass(frozen=True)
class ImportReport:
    """What became of a file's rows: ``rows = new + known + len(rejected)``."""

    file: Path
    rows: int
    new: int
    known: int
    rejected: tuple[Rejected, ...]
    aside: Path | None  # where the rejected rows are kept
    unknown_columns: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.file.name}: {self.rows:,} rows: {self.new:,} new labels, {self.known:,} known already"]
        if self.unknown_columns:
            lines.append(f"columns that are none of a label and were not taken: {', '.join(self.unknown_columns)}")
        if self.rejected:
            lines.append(f"{len(self.rejected):,} put aside in {self.aside}:")
            lines += [f"  {row}" for row in self.rejected[:SHOWN]]
        if len(self.rejected) > SHOWN:
            lines.append(f"  and {len(self.rejected) - SHOWN:,} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    file: Path
    labels: int
    history: bool

    def __str__(self) -> str:
        what = "labels, superseded ones included" if self.history else "labels, the newest of each labeller and thread"
        return f"{self.file}: {self.labels:,} {what}"


def export_labels(ledger: LabelLedger, path: Path, *, history: bool = False) -> ExportReport:
    """Write the newest standing label of each labeller and thread, or every standing one, in the format of the
    file's ending.

    Raises:
        LabelFileError: the ending is none of .csv, .jsonl, .parquet, or the file cannot be written.
        LedgerError: the ledger cannot be read.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise LabelFileError(f"{path}: labels are written as {', '.join(_WRITTEN)}; give the file such an ending.")
    labels = ledger.standing() if history else ledger.newest()
    rows = map(values_of, labels)
    match path.suffix.lower():
        case ".csv":
            content = write_csv(rows)
        case ".jsonl":
            content = write_jsonl(rows)
        case _:
            content = write_parquet(rows, COLUMNS)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise LabelFileError(f"{path} cannot be written: {error}") from None
    return ExportReport(path, len(labels), history)


def import_labels(path: Path, ledger: LabelLedger, aside: Path) -> ImportReport:
    """Take the labels of ``path`` into the ledger, in one transaction; rows that are none go to a file in ``aside``.

    A row of a file without the column ``origin`` gets the file's name as its origin, and is known already if the
    ledger has a label that says the same, wherever that came from. A label that was taken back stays so.

    Raises:
        LabelFileError: the file cannot be read at all, or its ratings are on another scale than 1 to 3.
        LedgerError: the ledger cannot be written; a repeated import goes on.
    """
    file = read_labels(path)
    known: dict[Key, list[Label]] = defaultdict(list)
    for label in ledger.all():
        known[_key(label)].append(label)
    new: list[Label] = []
    rejected = list(file.rejected)
    for entry in file.labels:
        same = known[_key(entry.label)]
        mine = [label for label in same if label.origin == entry.label.origin]
        if any(_says(label, entry) for label in (mine if "origin" in entry.columns else same)):
            continue
        if mine:
            reason = "another label of the same thread, labeller and time is in the ledger, or above in the file"
            rejected.append(Rejected(entry.line, reason, entry.text))
            continue
        same.append(entry.label)
        new.append(entry.label)
    rejected.sort(key=lambda row: row.line)
    kept = _put_aside(path, rejected, aside) if rejected else None
    added = ledger.append(new)
    rows = len(file.labels) + len(file.rejected)
    return ImportReport(
        file=path,
        rows=rows,
        new=added,
        known=rows - added - len(rejected),
        rejected=tuple(rejected),
        aside=kept,
        unknown_columns=file.unknown_columns,
    )


def read_labels(path: Path) -> LabelFile:
    """Read a file of labels by its ending: .csv, .jsonl (.ndjson) or an SQL dump, .sql. All of them are UTF-8.

    Raises:
        LabelFileError: the file cannot be read at all, or its ratings are on another scale than 1 to 3.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LabelFileError(f"{path}: labels are read from {', '.join(_READERS)}; its ending is none of these.")
    labels: list[FileLabel] = []
    rejected: list[Rejected] = []
    ratings: list[int] = []
    unknown: dict[str, None] = {}
    try:
        text = _text(path)
        if not text.strip():
            raise LabelFileError("It is empty.")
        for row in reader(text):
            if row.values is not None and (rating := rating_of(row.values)) is not None:
                ratings.append(rating)
            try:
                labels.append(_file_label(row, path.name))
            except BadRow as bad:
                rejected.append(Rejected(row.line, str(bad), row.text))
            unknown |= dict.fromkeys(str(name) for name in row.values or () if name not in (*COLUMNS, "id"))
    except LabelFileError as error:
        raise LabelFileError(f"{path}: {error}") from None
    _check_scale(path, ratings)
    return LabelFile(path, tuple(labels), tuple(rejected), tuple(unknown))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelFileError(f"It is larger than {MAX_BYTES >> 20} MB; split it.")
        content = path.read_bytes()
    except OSError as error:
        raise LabelFileError(f"It cannot be read: {error.strerror}.") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
        raise LabelFileError("It is UTF-16; save it as UTF-8.")
    return content.decode("utf-8-sig", "surrogateescape")


def _file_label(row: RawRow, origin: str) -> FileLabel:
    if _NOT_UTF8.search(row.text):
        raise BadRow("bytes that are not UTF-8")
    if row.values is None:
        raise BadRow(row.problem)
    label = label_of(row.values, origin)
    if sum(len(value.encode()) for value in label.values() if isinstance(value, str)) > MAX_LABEL_BYTES:
        raise BadRow(f"more than {MAX_LABEL_BYTES:,} bytes of text")
    return FileLabel(row.line, row.text, label, frozenset(row.values))


def _check_scale(path: Path, ratings: list[int]) -> None:
    """Refuse a file that rates by another scale: its 1 to 3 would mean something else than ours.

    The original's tables allow 1 to 10 and use 1 to 3, so one rating above 3 shows that the rest of a dump can not be
    told; elsewhere it may be a slip, unless such ratings are the rule.
    """
    outside = sorted({rating for rating in ratings if not 1 <= rating <= 3})
    of_ten = path.suffix.lower() == DUMP and any(4 <= rating <= 10 for rating in outside)
    if of_ten or sum(rating in outside for rating in ratings) * 2 > len(ratings):
        seen = ", ".join(map(str, outside[:SHOWN]))
        raise LabelFileError(
            f"{path}: its ratings are on another scale than 1 bearish, 2 neutral, 3 bullish (it has {seen}); what they "
            "mean can not be guessed, so nothing was taken. Convert them first."
        )


def _key(label: Label) -> Key:
    return label.thread_id, label.labeler_id, label.labeled_at


def _says(label: Label, entry: FileLabel) -> bool:
    """Whether ``label`` has the values of all columns that the file has."""
    there, here = values_of(label), values_of(entry.label)
    return all(there[column] == here[column] for column in entry.columns if column in there)


def _put_aside(path: Path, rejected: Iterable[Rejected], folder: Path) -> Path:
    rows = [{"line": row.line, "reason": row.reason, "row": row.text} for row in rejected]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    kept = folder / f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
    write_atomically(kept, content)
    return kept
