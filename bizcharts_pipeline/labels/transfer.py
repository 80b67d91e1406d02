"""Import and export of label files: CSV, JSON lines and SQL dumps in; CSV, JSON lines and Parquet out."""

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.core.sqlite import SQLITE_BEGIN, is_known
from bizcharts_pipeline.labels.importing import ImportReport, LabelFile, carry_out, collect, notes_of_posts, plan
from bizcharts_pipeline.labels.labellers import Spellings
from bizcharts_pipeline.labels.ledger import LabelLedger
from bizcharts_pipeline.labels.scales import Scale
from bizcharts_pipeline.labels.transfer_csv import read_csv, write_csv
from bizcharts_pipeline.labels.transfer_json import read_jsonl, write_jsonl, write_parquet
from bizcharts_pipeline.labels.transfer_rows import COLUMNS, LabelFileError, RawRow, values_of
from bizcharts_pipeline.labels.transfer_sql import read_dump
from bizcharts_pipeline.warehouse.database import Database

MAX_BYTES = 256 * 1024 * 1024
SHOWN_REASONS = 3
_CONTAINERS = {b"PK\x03\x04": "a spreadsheet or a ZIP archive", b"\x1f\x8b": "compressed with gzip"}
_SAMPLE_BYTES = 4096
_NOT_TEXT = re.compile("[\0-\x08\x0e-\x1f\x7f\udc80-\udcff]")  # control characters and bytes that are not UTF-8
_MAX_NOT_TEXT = 0.1  # share of the sample

_READERS: dict[str, Callable[[str], Iterator[RawRow]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".sql": read_dump,
}
_WRITTEN = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class ExportReport:
    """Result of an export."""

    file: Path
    labels: int
    history: bool

    def __str__(self) -> str:
        what = "labels, superseded ones included" if self.history else "labels, the newest of each labeller and thread"
        return f"{self.file}: {self.labels:,} {what}"


def export_labels(ledger: LabelLedger, path: Path, *, history: bool = False) -> ExportReport:
    """Write the newest standing label of each labeller and thread, or every standing one, to a label file in the format
    of the extension.

    Raises:
        LabelFileError: the extension is not .csv, .jsonl or .parquet, or the file cannot be written.
        LedgerError: the ledger cannot be read.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise LabelFileError(f"{path}: the extension of an export is one of {', '.join(_WRITTEN)}.")
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
        raise LabelFileError(f"{path} cannot be written: {reason_of(error)}") from None
    return ExportReport(path, len(labels), history)


def import_labels(
    path: Path,
    ledger: LabelLedger,
    aside: Path,
    *,
    scale: Scale | None = None,
    now: datetime | None = None,
    database: Database | None = None,
    begin: Callable[[], object] = lambda: None,
) -> ImportReport:
    """Import the label file ``path`` into the ledger; invalid rows go to a file in ``aside``.

    A refused file has no effect.

    Args:
        scale: scale of the file's ratings, if given by the user.
        now: naive UTC; the current time by default.
        database: the report says how many of the file's threads it does not have.
        begin: called before the first write.

    Raises:
        LabelFileError: the file cannot be read, none of its rows is a label, or its ratings are on another scale than 1
            to 3.
        LedgerError: the ledger cannot be written; a repeated import continues.
    """
    now = now or utc_now()
    spellings = Spellings(label.labeler_id for label in ledger.not_retracted()) if is_known(ledger.path) else None
    planned = plan(read_labels(path, scale, spellings), ledger, now)
    if not planned.rows:
        raise LabelFileError(f"{path}: it has no rows, so nothing was imported.")
    if planned.rejected and not planned.new and not planned.known:
        shown = [*map(str, planned.rejected[:SHOWN_REASONS]), *(["..."] if planned.rejected[SHOWN_REASONS:] else [])]
        raise LabelFileError(f"{path}: none of its rows is a valid label, so nothing was imported: {'; '.join(shown)}")
    begin()
    report = carry_out(planned, ledger, aside, now)
    return replace(report, notes=(*report.notes, *notes_of_posts(planned.file, database))) if database else report


def read_labels(path: Path, scale: Scale | None = None, spellings: Spellings | None = None) -> LabelFile:
    """Read a label file by its extension: .csv, .jsonl (.ndjson) or an SQL dump, .sql. All are UTF-8.

    Raises:
        LabelFileError: the file cannot be read, or its ratings are on another scale than 1 to 3.
    """
    if _is_sqlite(path):
        raise LabelFileError(
            f"{path} is a SQLite database: `bizcharts import-sqlite {path}` imports one of the first implementation."
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LabelFileError(
            f"{path}: labels are read from {', '.join(_READERS)}; `bizcharts import-sqlite` imports a SQLite database."
        )
    try:
        text = _text(path)
        if not text.strip():
            raise LabelFileError("It is empty.")
        rows = list(reader(text))
    except LabelFileError as error:
        raise LabelFileError(f"{path}: {error}") from None
    return collect(rows, path, path.name, scale=scale, spellings=spellings)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE_BEGIN)) == SQLITE_BEGIN
    except OSError:  # the caller reports the error
        return False


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelFileError(f"It is larger than {MAX_BYTES >> 20} MB; split it.")
        content = path.read_bytes()
    except OSError as error:
        raise LabelFileError(f"It cannot be read: {error.strerror}.") from None
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise LabelFileError("The file is UTF-32; save it as UTF-8, and import it again.")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
        raise LabelFileError("The file is UTF-16; save it as UTF-8, and import it again.")
    if kind := next((kind for begin, kind in _CONTAINERS.items() if content.startswith(begin)), None):
        raise LabelFileError(f"It is {kind}; save the labels as CSV, UTF-8.")
    text = content.decode("utf-8-sig", "surrogateescape")
    sample = text[:_SAMPLE_BYTES]
    if len(_NOT_TEXT.findall(sample)) > _MAX_NOT_TEXT * len(sample):
        raise LabelFileError("It is a binary file, or text that is not UTF-8; save the labels as CSV, UTF-8.")
    return text
