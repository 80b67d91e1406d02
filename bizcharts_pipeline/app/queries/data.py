"""What was collected, and how completely."""

from dataclasses import dataclass
from datetime import date

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage
from bizcharts_pipeline.warehouse.datasets import MeasuredTrust, measured_trust
from bizcharts_pipeline.warehouse.labels import labellers
from bizcharts_pipeline.warehouse.previews import Preview
from bizcharts_pipeline.warehouse.statistics import (
    SourceStatistics,
    TableStatistics,
    source_statistics,
    table_statistics,
)

POLL_DAYS = 30
MAX_LABELLERS = 100

_POLLS = f"""
SELECT snapshot_at::DATE AS day, count(*), count(*) FILTER (not_modified), coalesce(sum(rejected_threads), 0),
       coalesce(sum(new_threads), 0)
FROM catalog_snapshots
WHERE snapshot_at >= (SELECT max(snapshot_at) FROM catalog_snapshots) - INTERVAL {POLL_DAYS} DAY
GROUP BY day ORDER BY day DESC
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
class Data:
    """The state of the collection. ``days`` ascend; ``polls`` are of the last 30 days, the newest first."""

    days: tuple[DayCoverage, ...]
    polls: tuple[PollDay, ...]
    labellers: Preview  # each one's labels by class, and the newest
    rated_posts: int  # by all of them
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
    people = labellers(connection, MAX_LABELLERS)
    return Data(
        tuple(coverage(connection)),
        tuple(PollDay(*row) for row in connection.execute(_POLLS).fetchall()),
        people,
        sum(row[people.columns.index("posts")] - row[people.columns.index("skipped")] for row in people.rows),
        rows.get("gold_split", 0),
        rows.get("label_queue", 0),
        tuple(measured_trust(connection)),
        tuple(sorted(tables, key=lambda each: -each.rows)),
        tuple(source_statistics(connection)),
    )
