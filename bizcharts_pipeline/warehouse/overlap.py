"""Comparison of archive and live posts of the same day, made before the archive's posts are merged.

After the merge there is one row per thread, and the difference is lost; so the comparison is stored, one row per day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.values import literal, table

MIN_RECALL = 0.95  # share of live posts
MIN_HOURS = 23  # polled, for a meaningful recall
MAX_TEXT_DIFFERENCES = 0.02  # share of common threads
HOUR_SECONDS = 3600.0

_ARCHIVE_THREAD = {"thread_id": "BIGINT", "posted_at": "TIMESTAMP", "text": "VARCHAR"}
_OF_THE_DAY = "posted_at >= {day} AND posted_at < {day} + INTERVAL 1 DAY"
_COMPARE = """
INSERT INTO archive_overlaps BY NAME
WITH archive AS (SELECT DISTINCT ON (thread_id) * FROM {threads} WHERE {of_the_day}),
live AS (SELECT thread_id, posted_at, op_text_clean FROM thread_ops WHERE source = 'live' AND {of_the_day}),
compared AS (
    SELECT epoch(a.posted_at) - epoch(l.posted_at) AS difference,
           regexp_replace(trim(a.text), '\\s+', ' ', 'g') <> regexp_replace(trim(l.op_text_clean), '\\s+', ' ', 'g')
           AS other_text
    FROM archive AS a JOIN live AS l USING (thread_id)
)
SELECT {day}::DATE AS day,
       (SELECT count(DISTINCT date_trunc('hour', snapshot_at)) FROM catalog_snapshots
        WHERE snapshot_at >= {day} AND snapshot_at < {day} + INTERVAL 1 DAY) AS hours_polled,
       (SELECT count(*) FROM live) AS live_threads,
       (SELECT count(*) FROM archive) AS archive_threads,
       count(*) AS both_threads,
       count(*) FILTER (abs(difference) > 1) AS time_differences,
       arg_max(difference, abs(difference)) AS largest_difference,
       count(*) FILTER (other_text) AS text_differences,
       {now} AS compared_at
FROM compared
"""
_REPORT = """
SELECT o.day, coalesce(w.complete, FALSE), hours_polled, live_threads, archive_threads, both_threads, time_differences,
       largest_difference, text_differences, compared_at
FROM archive_overlaps AS o LEFT JOIN warosu_days AS w USING (day)
WHERE live_threads > 0 ORDER BY day DESC LIMIT {days}
"""


@dataclass(frozen=True)
class Overlap:
    """Comparison of one UTC day before the merge of live and archived posts. Differences are archive minus live."""

    day: date
    complete: bool  # the archive's day
    hours_polled: int  # by live, of 24
    live_threads: int
    archive_threads: int
    both_threads: int
    time_differences: int  # common threads that differ by more than a second
    largest_difference: float | None  # seconds
    text_differences: int  # common threads that differ in more than white space
    compared_at: datetime

    @property
    def archive_recall(self) -> float | None:
        """Share of the live posts that the archive has."""
        return self.both_threads / self.live_threads if self.live_threads else None

    @property
    def live_recall(self) -> float | None:
        """Share of the archived posts that the live poller saw."""
        return self.both_threads / self.archive_threads if self.archive_threads else None

    @property
    def problems(self) -> list[str]:
        """Descriptions of the problems found by comparing the day's archived and live posts; empty if the archive's day
        is incomplete.
        """
        if not self.complete:
            return []
        found = []
        recall = self.archive_recall
        if self.hours_polled >= MIN_HOURS and recall is not None and recall < MIN_RECALL:
            found.append(f"{self.day}: the archive has {recall:.1%} of the live threads")
        hours = round((self.largest_difference or 0.0) / HOUR_SECONDS)
        if hours and abs((self.largest_difference or 0.0) - hours * HOUR_SECONDS) <= 1:
            found.append(f"{self.day}: a time is off by {hours:+d} h (wrong time zone?)")
        if self.text_differences > MAX_TEXT_DIFFERENCES * self.both_threads:
            found.append(f"{self.day}: {self.text_differences} of {self.both_threads} texts differ")
        return found


def record_overlap(
    connection: duckdb.DuckDBPyConnection, day: date, archive_threads: Sequence[PreparedThread], now: datetime
) -> None:
    """Store the comparison of the archive's threads of ``day`` (UTC) with the live ones, replacing an earlier
    comparison.

    Call it inside :meth:`Database.write`, before they are merged.
    """
    rows = [
        {
            "thread_id": prepared.thread.thread_id,
            "posted_at": prepared.thread.posted_at,
            "text": None if prepared.thread.op_html is None else prepared.text,
        }
        for prepared in archive_threads
    ]
    midnight = literal(datetime.combine(day, datetime.min.time()))
    of_the_day = _OF_THE_DAY.format(day=midnight)
    connection.execute(f"DELETE FROM archive_overlaps WHERE day = {midnight}::DATE")
    connection.execute(
        _COMPARE.format(day=midnight, of_the_day=of_the_day, now=literal(now), threads=table(rows, _ARCHIVE_THREAD))
    )


def overlap_report(connection: duckdb.DuckDBPyConnection, days: int = 90) -> list[Overlap]:
    """Read from the database the comparisons of archive and live posts of the newest ``days`` days with at least one
    live post, newest first.
    """
    return [Overlap(*row) for row in connection.execute(_REPORT.format(days=int(days))).fetchall()]


def overlap_problems(connection: duckdb.DuckDBPyConnection, days: int = 90) -> list[str]:
    """Read from the database the problems of the newest ``days`` days on which archive and live posts were compared,
    for the asset check.
    """
    return [problem for overlap in overlap_report(connection, days) for problem in overlap.problems]
