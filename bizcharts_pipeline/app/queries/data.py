"""The collected data, and its completeness."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.labels.worth import Worth, newest_worth
from bizcharts_pipeline.models.retraining import Terms, retrainings
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage
from bizcharts_pipeline.warehouse.datasets import MeasuredTrust, measured_trust
from bizcharts_pipeline.warehouse.labels import labellers
from bizcharts_pipeline.warehouse.learning_curves import LearningCurve, newest_curve
from bizcharts_pipeline.warehouse.previews import Preview
from bizcharts_pipeline.warehouse.snapshots import Outage, PollDay, last_poll, outages, polls_by_day
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
    last_poll: datetime | None  # naive UTC
    labellers: Preview  # each one's labels by class, and the newest
    rated_posts: int  # by all of them
    gold_posts: int
    queued_posts: int
    curve: LearningCurve | None
    worth: Worth | None  # by the curve
    trust: tuple[MeasuredTrust, ...]
    tables: tuple[TableStatistics, ...]
    sources: tuple[SourceStatistics, ...]


@once_per_file
def trainings_due(connection: duckdb.DuckDBPyConnection, home: Path, terms: Terms) -> tuple[str, ...]:
    """Return for the app's page Data what speaks for another training, in sentences; none if nothing does."""
    return tuple(sentence for each in retrainings(connection, home, terms) for sentence in each.sentences)


@once_per_file
def collected(connection: duckdb.DuckDBPyConnection) -> Data:
    """Return for the app's page Data the state of the collection as it is now."""
    tables = table_statistics(connection)
    rows = {each.table: each.rows for each in tables}
    people = labellers(connection, MAX_LABELLERS)
    return Data(
        tuple(coverage(connection)),
        tuple(polls_by_day(connection, POLL_DAYS)),
        tuple(outages(connection, MAX_OUTAGES)),
        last_poll(connection),
        people,
        sum(row[people.columns.index("posts")] - row[people.columns.index("skipped")] for row in people.rows),
        rows.get("gold_split", 0),
        rows.get("label_queue", 0),
        newest_curve(connection),
        newest_worth(connection),
        tuple(measured_trust(connection)),
        tuple(sorted(tables, key=lambda each: -each.rows)),
        tuple(source_statistics(connection)),
    )
