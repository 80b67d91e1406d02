"""The collected data, and its completeness."""

from dataclasses import dataclass

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage
from bizcharts_pipeline.warehouse.datasets import MeasuredTrust, measured_trust
from bizcharts_pipeline.warehouse.labels import labellers
from bizcharts_pipeline.warehouse.previews import Preview
from bizcharts_pipeline.warehouse.snapshots import Outage, PollDay, outages, polls_by_day
from bizcharts_pipeline.warehouse.statistics import (
    SourceStatistics,
    TableStatistics,
    source_statistics,
    table_statistics,
)

POLL_DAYS = 30
MAX_LABELLERS = 100
MAX_OUTAGES = 50


@dataclass(frozen=True)
class Data:
    """The state of the collection. ``days`` ascend; ``polls`` are of the last 30 days, the newest first."""

    days: tuple[DayCoverage, ...]
    polls: tuple[PollDay, ...]
    outages: tuple[Outage, ...]  # the newest first
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
        tuple(polls_by_day(connection, POLL_DAYS)),
        tuple(outages(connection, MAX_OUTAGES)),
        people,
        sum(row[people.columns.index("posts")] - row[people.columns.index("skipped")] for row in people.rows),
        rows.get("gold_split", 0),
        rows.get("label_queue", 0),
        tuple(measured_trust(connection)),
        tuple(sorted(tables, key=lambda each: -each.rows)),
        tuple(source_statistics(connection)),
    )
