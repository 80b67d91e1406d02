"""Table ``warosu_days``: the fetched days of the archive and whether each is complete."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import duckdb

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.overlap import record_overlap
from bizcharts_pipeline.warehouse.threads import MergeResult, merge_threads
from bizcharts_pipeline.warehouse.values import literal, table

_COLUMNS = {
    "day": "DATE",
    "rows": "INTEGER",
    "requests": "INTEGER",
    "complete": "BOOLEAN",
    "fetched_at": "TIMESTAMP",
    "method": "VARCHAR",
    "reason": "VARCHAR",
}


@dataclass(frozen=True)
class ArchiveDay:
    """One row of ``warosu_days``. ``fetched_at`` is naive UTC; ``reason`` is why a day is incomplete."""

    day: date
    rows: int
    requests: int
    complete: bool
    fetched_at: datetime
    method: str
    reason: str | None = None


def load_day(connection: duckdb.DuckDBPyConnection, day: date) -> ArchiveDay | None:
    """Read from the database the row of ``day``, as fetched from the archive; ``None`` if it was never fetched."""
    row = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM warosu_days WHERE day = DATE {literal(day.isoformat())}"
    ).fetchone()
    return ArchiveDay(*row) if row else None


def complete_days(connection: duckdb.DuckDBPyConnection) -> set[date]:
    """Read from the database the days that were fetched completely from the archive."""
    return {row[0] for row in connection.execute("SELECT day FROM warosu_days WHERE complete").fetchall()}


def archived_times(connection: duckdb.DuckDBPyConnection, numbers: Sequence[int]) -> dict[int, datetime]:
    """Read from the database the posting time of each given thread that only the archive has."""
    listed = ", ".join(str(int(number)) for number in numbers) or "NULL"
    found = connection.execute(
        f"SELECT thread_id, posted_at FROM thread_ops WHERE source = 'warosu' AND thread_id IN ({listed})"
    )
    return dict(found.fetchall())


def record_day(
    connection: duckdb.DuckDBPyConnection, day: ArchiveDay, threads: Sequence[PreparedThread]
) -> MergeResult:
    """Store a day of the archive: compare its opening posts with the live ones, merge them, and record the day's state.

    Call it inside :meth:`Database.write`. A complete day keeps its row and its comparison.
    """
    known = load_day(connection, day.day)
    counts = known is None or day.complete or not known.complete
    if counts:
        record_overlap(connection, day.day, threads, day.fetched_at)
    merged = merge_threads(connection, threads, ingested_at=day.fetched_at, seen_at=None)
    if counts:
        row = asdict(day) | {"day": day.day.isoformat()}
        connection.execute(f"DELETE FROM warosu_days WHERE day = DATE {literal(day.day.isoformat())}")
        connection.execute(f"INSERT INTO warosu_days BY NAME SELECT * FROM {table([row], _COLUMNS)}")
    return merged
