"""``bizcharts export``: the published numbers as files in a folder.

Each file is replaced whole, and ``manifest.json`` with the hashes of all others is replaced last: a reader who needs
files of one moment compares them with it. The tables are copied from the database as Parquet in one turn; the other
formats are made from these files when the turn has been given back.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.clock import iso_utc
from bizcharts_pipeline.core.file_lock import lock_file
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, sync
from bizcharts_pipeline.exports.badge import png_badge, svg_badge
from bizcharts_pipeline.exports.dictionary import COINS, INDEX, SWITCHES, Column, as_markdown, times_of
from bizcharts_pipeline.exports.errors import ExportError
from bizcharts_pipeline.exports.pages import PLOTTED_DAYS, Figures, report_page
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.as_of import (
    Revision,
    coin_board,
    coins_sql,
    index_sql,
    newest_reading,
    newest_readings,
    revision,
)
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import connect
from bizcharts_pipeline.warehouse.interrupts import passed_on
from bizcharts_pipeline.warehouse.model_previews import switches_sql
from bizcharts_pipeline.warehouse.values import literal

SCHEMA = 1  # of the files; grows when a column is renamed, removed or means something else
FOLDER = "exports"  # in the home
MANIFEST = "manifest.json"
LOCK = ".lock"
DICTIONARY: dict[str, tuple[Column, ...]] = {
    "index_hour": INDEX,
    "index_day": INDEX,
    "coins_hour": COINS,
    "coins_day": COINS,
    "model_switches": SWITCHES,
}
# Parquet marks times as UTC; the text formats write ISO 8601 with a Z.
_IN_UTC = "{name}::TIMESTAMPTZ AS {name}"
_AS_TEXT = "replace(strftime({name} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ'), '.000000Z', 'Z') AS {name}"
_TEXT_FORMATS = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true"}


@dataclass(frozen=True)
class ExportReport:
    """Result of an export."""

    folder: Path
    rows: dict[str, int]  # by table
    bytes: int

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.rows.items())
        return f"{self.folder}: {counts} rows; {self.bytes / 1e6:,.1f} MB"


def export(
    database: Database, folder: Path, parameters: FearGreedSettings, now: datetime, as_of: datetime | None = None
) -> ExportReport:
    """Write the published numbers to ``folder``, which is made if it is missing, in place of an earlier export.

    Args:
        now: the time (naive UTC), for the manifest.
        as_of: the moment (naive UTC) whose knowledge is exported; ``None``: the present state.

    Raises:
        ExportError: ``folder`` is not a folder, or another export is writing to it.
        DatabaseError: the database cannot be read.
        OSError: the files cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is no folder; name another one.")
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder), _draft(folder) as draft:
        figures, found = _copy_tables(database, draft, as_of)
        rows = _convert(draft)
        (draft / "badge.svg").write_text(svg_badge(figures.hour), encoding="utf-8")
        (draft / "badge.png").write_bytes(png_badge(figures.hour))
        (draft / "report.html").write_text(report_page(figures, parameters), encoding="utf-8")
        dictionary = as_markdown("Data dictionary", DICTIONARY)
        (draft / "data-dictionary.md").write_text(dictionary, encoding="utf-8")
        files = sorted(draft.iterdir())
        manifest = draft / MANIFEST
        content = _manifest(files, rows, found, now, as_of)
        manifest.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        size = _put_in_place([*files, manifest], folder)
    return ExportReport(folder, rows, size)


def _copy_tables(database: Database, draft: Path, as_of: datetime | None) -> tuple[Figures, Revision]:
    """Copy the tables to Parquet files, and return what badge and report show; all of one state of the database."""
    with database.read(copy_to=draft) as connection:
        for name, query, order in (
            ("index_hour", index_sql("hour", as_of), "bucket_start"),
            ("index_day", index_sql("day", as_of), "bucket_start"),
            ("coins_hour", coins_sql("hour", as_of), "bucket_start, coin_symbol"),
            ("coins_day", coins_sql("day", as_of), "bucket_start, coin_symbol"),
            ("model_switches", switches_sql(as_of), "switched_at"),
        ):
            copied = f"SELECT * REPLACE ({_each_time(name, _IN_UTC)}) FROM ({query}) ORDER BY {order}"
            connection.execute(f"COPY ({copied}) TO {_file(draft, name, 'parquet')} (FORMAT parquet)")
        figures = Figures(
            newest_reading(connection, "hour", as_of),
            newest_readings(connection, "day", PLOTTED_DAYS, as_of),
            coin_board(connection, "day", as_of),
            as_of,
        )
        return figures, revision(connection, as_of)


def _convert(draft: Path) -> dict[str, int]:
    """Write each Parquet file in the text formats too; return how many rows each table has."""
    rows = {}
    try:
        with closing(connect(":memory:", read_only=False, copy_to=draft)) as connection, passed_on(connection):
            for name in DICTIONARY:
                parquet = _file(draft, name, "parquet")
                counted_rows = connection.execute(f"SELECT count(*) FROM {parquet}").fetchone()
                rows[name] = int(counted_rows[0]) if counted_rows else 0
                for ending, options in _TEXT_FORMATS.items():
                    query = f"SELECT * REPLACE ({_each_time(name, _AS_TEXT)}) FROM {parquet}"
                    connection.execute(f"COPY ({query}) TO {_file(draft, name, ending)} ({options})")
    except duckdb.Error as error:
        raise ExportError(f"{draft.parent}: the tables were not written: {str(error).splitlines()[0]}") from None
    return rows


def _each_time(table: str, expression: str) -> str:
    return ", ".join(expression.format(name=name) for name in times_of(DICTIONARY[table]))


def _file(draft: Path, name: str, ending: str) -> str:
    return literal(str(draft.resolve() / f"{name}.{ending}"))


def _manifest(
    files: list[Path], rows: dict[str, int], found: Revision, now: datetime, as_of: datetime | None
) -> dict[str, object]:
    hashes = {path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size} for path in files}
    return {
        "schema": SCHEMA,
        "exported_at": iso_utc(now),
        "as_of": as_of and iso_utc(as_of),
        "newest_computed_at": found.newest_computed_at and iso_utc(found.newest_computed_at),
        "rows": rows,
        "files": hashes,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(files: list[Path], folder: Path) -> int:
    """Move finished files to ``folder``, in this order; return their size."""
    size = 0
    for path in files:
        sync(path)
        size += path.stat().st_size
        os.replace(path, folder / path.name)
    sync(folder)
    return size


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of exports to ``folder``; the kernel releases it when the process dies."""
    with lock_file(folder / LOCK) as is_free:
        if not is_free:
            raise ExportError(f"Another export is writing to {folder}; wait for it, or name another folder.")
        yield


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside ``folder``; it and what killed exports have left is removed at the end."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
