"""What was collected, and how completely."""

from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage
from bizcharts_pipeline.warehouse.datasets import MeasuredTrust, measured_trust
from bizcharts_pipeline.warehouse.statistics import (
    SourceStatistics,
    TableStatistics,
    source_statistics,
    table_statistics,
)

POLL_DAYS = 30

_POLLS = f"""
SELECT snapshot_at::DATE AS day, count(*), count(*) FILTER (not_modified), coalesce(sum(rejected_threads), 0),
       coalesce(sum(new_threads), 0)
FROM catalog_snapshots
WHERE snapshot_at >= (SELECT max(snapshot_at) FROM catalog_snapshots) - INTERVAL {POLL_DAYS} DAY
GROUP BY day ORDER BY day DESC
"""
_LABELS = """
SELECT labeler_id, count(*) FILTER (NOT skipped), count(*) FILTER (skipped), max(labeled_at)
FROM training_labels GROUP BY labeler_id ORDER BY labeler_id
"""


@dataclass(frozen=True)
class PollDay:
    """The polls of one UTC day."""

    day: date
    polls: int
    not_modified: int  # answers that said that nothing is new
    rejected: int  # entries of the catalogue that could not be read
    new_threads: int


@dataclass(frozen=True)
class LabellerProgress:
    """What one labeller has done."""

    labeller: str
    rated: int
    skipped: int
    newest: datetime  # naive UTC


@dataclass(frozen=True)
class Data:
    """The state of the collection. ``days`` ascend; ``polls`` are of the last 30 days, the newest first."""

    days: tuple[DayCoverage, ...]
    polls: tuple[PollDay, ...]
    labellers: tuple[LabellerProgress, ...]
    gold_posts: int
    queued_posts: int
    trust: tuple[MeasuredTrust, ...]
    tables: tuple[TableStatistics, ...]
    sources: tuple[SourceStatistics, ...]


@once_per_file
def collected(connection: duckdb.DuckDBPyConnection) -> Data:
    """Return the state of the collection as it is now."""
    tables = table_statistics(connection)
    rows = {each.table: each.rows for each in tables}
    return Data(
        tuple(coverage(connection)),
        tuple(PollDay(*row) for row in connection.execute(_POLLS).fetchall()),
        tuple(LabellerProgress(*row) for row in connection.execute(_LABELS).fetchall()),
        rows.get("gold_split", 0),
        rows.get("label_queue", 0),
        tuple(measured_trust(connection)),
        tuple(sorted(tables, key=lambda each: -each.rows)),
        tuple(source_statistics(connection)),
    )
