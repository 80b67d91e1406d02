"""Coverage by day: live polls, archive state and number of posts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import duckdb

from bizcharts_pipeline.core.clock import DAY, utc_now
from bizcharts_pipeline.warehouse.values import literal

HOURS = 24

ArchiveState = Literal["complete", "incomplete", "not asked"]

# Live posts do not count: a pinned one may be years older than the first poll.
_EXTENT = """
SELECT min(first), max(last) FROM (
    SELECT min(posted_at)::DATE AS first, max(posted_at)::DATE AS last FROM thread_ops WHERE source <> 'live'
    UNION ALL SELECT min(snapshot_at)::DATE, max(snapshot_at)::DATE FROM catalog_snapshots
    UNION ALL SELECT min(day), max(day) FROM warosu_days)
"""
_DAYS = """
WITH posts AS (
    SELECT posted_at::DATE AS day, count(*) FILTER (source = 'live') AS live,
           count(*) FILTER (source <> 'live') AS archive
    FROM thread_ops WHERE posted_at >= {first} AND posted_at < {last}::DATE + INTERVAL 1 DAY GROUP BY day
),
polls AS (
    SELECT snapshot_at::DATE AS day, count(DISTINCT date_trunc('hour', snapshot_at)) AS hours
    FROM catalog_snapshots WHERE snapshot_at >= {first} AND snapshot_at < {last}::DATE + INTERVAL 1 DAY GROUP BY day
),
asked AS (
    SELECT day, bool_or(complete) AS complete, any_value(reason) AS reason FROM warosu_days GROUP BY day
)
SELECT d.day::DATE, coalesce(p.live, 0), coalesce(p.archive, 0), coalesce(h.hours, 0),
       CASE WHEN a.day IS NULL THEN 'not asked' WHEN a.complete THEN 'complete' ELSE 'incomplete' END,
       CASE WHEN NOT a.complete THEN a.reason END, d.day < {today}
FROM range({first}, {last}::DATE + INTERVAL 1 DAY, INTERVAL 1 DAY) AS d(day)
LEFT JOIN posts AS p ON p.day = d.day LEFT JOIN polls AS h ON h.day = d.day LEFT JOIN asked AS a ON a.day = d.day
ORDER BY d.day
"""


@dataclass(frozen=True)
class DayCoverage:
    """One UTC day. Post counts are of opening posts stored now: retention may have deleted some."""

    day: date
    live_posts: int  # seen by the live poller
    archive_posts: int  # only in the archive
    hours_polled: int  # of 24
    archive: ArchiveState
    reason: str | None = None  # why the archive's day is incomplete
    over: bool = True  # whether the day has ended

    @property
    def complete(self) -> bool:
        """Whether the database covers the day: the archive's day is complete, or the live poller polled in each of its
        hours.
        """
        return self.archive == "complete" or self.polled

    @property
    def polled(self) -> bool:
        """Whether the day has ended and, by the polls in the database, the live poller polled in each of its hours."""
        return self.over and self.hours_polled == HOURS


@dataclass(frozen=True)
class Range:
    """Days from ``first`` to ``last``, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class CoverageSummary:
    """Summary of a range of days; all ``None`` or empty without any day."""

    first: date | None
    last: date | None
    days: int
    complete_days: int
    earliest_complete: date | None
    newest_complete: date | None
    live_posts: int
    archive_posts: int
    gaps: tuple[Range, ...]  # incomplete days


def coverage(
    connection: duckdb.DuckDBPyConnection, first: date | None = None, last: date | None = None
) -> list[DayCoverage]:
    """Read the coverage of every known day by polls and by the archive from the database, from the earliest to the
    newest, limited to ``first`` and ``last`` if given.

    Today (UTC) has not ended.
    """
    row = connection.execute(_EXTENT).fetchone()
    assert row  # an aggregate always gives one
    if row[0] is None:
        return []
    first, last = max(first or row[0], row[0]), min(last or row[1], row[1])
    days = {"first": first, "last": last, "today": utc_now().date()}
    bounds = {name: f"DATE {literal(day.isoformat())}" for name, day in days.items()}
    return [DayCoverage(*found) for found in connection.execute(_DAYS.format(**bounds)).fetchall()]


def summary(days: Sequence[DayCoverage]) -> CoverageSummary:
    """Summarize the coverage by the database of ``days``, which ascend."""
    complete = [day.day for day in days if day.complete]
    return CoverageSummary(
        first=days[0].day if days else None,
        last=days[-1].day if days else None,
        days=len(days),
        complete_days=len(complete),
        earliest_complete=complete[0] if complete else None,
        newest_complete=complete[-1] if complete else None,
        live_posts=sum(day.live_posts for day in days),
        archive_posts=sum(day.archive_posts for day in days),
        gaps=tuple(ranges(day.day for day in days if not day.complete)),
    )


def ranges(days: Iterable[date]) -> list[Range]:
    """Return the contiguous ranges of ``days``, such as those without coverage, ascending; duplicates count once."""
    found: list[Range] = []
    for day in sorted(set(days)):
        if found and day - found[-1].last == DAY:
            found[-1] = Range(found[-1].first, day)
        else:
            found.append(Range(day, day))
    return found
