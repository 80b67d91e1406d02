"""Retention: each rule deletes a few days' rows at a time, in transactions of about a second.

Other processes get the database between two transactions. Each transaction leaves a valid database and a rule checks
everything again in the next run, which so continues a killed one. Data that can be recomputed must not change: no
reading of the index differs after observations and polls were thinned; ``retention_marks`` records from when on deleted
threads no longer affect it.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse.compact import limit_memory
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.image_features import FORGET_FEATURES
from bizcharts_pipeline.warehouse.labelled import labelled_threads
from bizcharts_pipeline.warehouse.statistics import bytes_per_row
from bizcharts_pipeline.warehouse.values import literal

ROWS_AT_A_TIME = 250_000

# All data about a thread is deleted with it.
OF_THREADS = ("thread_observations", "coin_mentions", "scored_posts", "scored_mentions", "thumbnails", "thread_fates")

_OLD_THREADS = """
SELECT rowid FROM thread_ops
WHERE {span} AND greatest(posted_at, ingested_at) < {until}
  AND coalesce(greatest(reply_count, observed_reply_count, archive_reply_count), 0) < {popular}
  AND thread_id NOT IN (SELECT thread_id FROM labelled)
  -- Still on the board: a sticky may stay for years.
  AND (last_seen_at IS NULL OR last_seen_at < (SELECT max(last_seen_at) FROM thread_ops) - INTERVAL 1 DAY)
"""
_FORGET_THREADS = (
    "CREATE TEMP TABLE gone AS SELECT thread_id, posted_at FROM thread_ops WHERE rowid IN (FROM chosen)",
    *(f"DELETE FROM {name} WHERE thread_id IN (SELECT thread_id FROM gone)" for name in ("thread_ops", *OF_THREADS)),
    FORGET_FEATURES,
    """
    CREATE TEMP TABLE mark AS
    SELECT max(posted_at) + INTERVAL 1 MICROSECOND AS gone_before FROM gone
    UNION ALL SELECT gone_before FROM retention_marks WHERE what = 'threads'
    """,
    "DELETE FROM retention_marks WHERE what = 'threads'",
    "INSERT INTO retention_marks SELECT 'threads', max(gone_before), {now} FROM mark HAVING max(gone_before) NOT NULL",
)

_OLD_HTML = "SELECT rowid FROM thread_ops WHERE {span} AND op_text IS NOT NULL"
_STRIP_HTML = ("UPDATE thread_ops SET op_text = NULL WHERE rowid IN (FROM chosen)",)

# All but the last of each hour or day; in the two hours after a post, the index needs the last observation at or before
# each full hour and the last at or before their end.
_SURPLUS_OBSERVATIONS = """
WITH seen AS (
    SELECT o.rowid AS place, o.thread_id, o.seen_at, o.reply_count IS NULL AS uncounted, o.seen_at <= t.posted_at
           + INTERVAL 2 HOUR IS TRUE AS young, o.seen_at - INTERVAL 1 MICROSECOND AS moment
    FROM (SELECT rowid, * FROM thread_observations WHERE {span}) AS o LEFT JOIN thread_ops AS t USING (thread_id)
)
SELECT place FROM seen
QUALIFY row_number() OVER (
    PARTITION BY thread_id, uncounted, young,
                 date_trunc(CASE WHEN young OR moment >= {hourly} THEN 'hour' ELSE 'day' END, moment)
    ORDER BY seen_at DESC, place DESC) > 1
"""
# One poll per hour is kept for ever: the index's coverage counts the hours with polls.
_SURPLUS_POLLS = """
SELECT rowid FROM catalog_snapshots WHERE {span}
QUALIFY row_number() OVER (PARTITION BY date_trunc('hour', snapshot_at) ORDER BY snapshot_at DESC, rowid DESC) > 1
"""
_SURPLUS_PRICES = """
SELECT rowid FROM coin_prices WHERE {span}
QUALIFY row_number() OVER (
    PARTITION BY coin_symbol, source, date_trunc('day', "at" - INTERVAL 1 MICROSECOND)
    ORDER BY "at" DESC, rowid DESC) > 1
"""


@dataclass(frozen=True)
class RuleReport:
    """Number of ``rows`` that one rule deletes (posts, for their HTML), and the estimated ``bytes``."""

    rule: str
    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class _Rule:
    """A retention rule. ``chosen`` selects the rowids of ``table`` in a span of days; ``take`` deletes them."""

    name: str
    table: str
    dated_by: str  # expression of the rows' time
    until: datetime  # exclusive
    chosen: str
    take: tuple[str, ...]
    column: str | None = None  # column to delete; None: entire rows


def plan(
    database: Database, policy: RetentionSettings, now: datetime, labelled: Collection[int] = ()
) -> list[RuleReport]:
    """Return what :func:`apply` would delete from the database at ``now``, rule by rule, without deleting it.

    Rules are evaluated independently: the HTML of a thread to be deleted also counts under the HTML rule.
    """

    def count(connection: duckdb.DuckDBPyConnection, chosen: str, rule: _Rule) -> int:
        return _one(connection, f"SELECT count(*) FROM ({chosen})")

    return _run(database, policy, now, labelled, count, writing=False)


def apply(
    database: Database, policy: RetentionSettings, now: datetime, labelled: Collection[int] = ()
) -> list[RuleReport]:
    """Delete from the database the data that ``policy`` no longer keeps at ``now``, and return what was deleted, rule
    by rule.

    ``labelled`` threads are exempt like those in ``training_labels`` and ``auto_labels``.

    Raises:
        DatabaseError: as :meth:`Database.write`; transactions committed before the error stay.
    """

    def take(connection: duckdb.DuckDBPyConnection, chosen: str, rule: _Rule) -> int:
        connection.execute(f"CREATE TEMP TABLE chosen AS {chosen}")
        taken = _one(connection, "SELECT count(*) FROM chosen")
        for statement in rule.take if taken else ():
            connection.execute(statement.format(now=literal(now)))
        return taken

    return _run(database, policy, now, labelled, take, writing=True)


def _run(
    database: Database,
    policy: RetentionSettings,
    now: datetime,
    labelled: Collection[int],
    act: Callable[[duckdb.DuckDBPyConnection, str, _Rule], int],
    *,
    writing: bool,
) -> list[RuleReport]:
    reports = []
    for rule in _rules(policy, now):
        with database.read() as connection:
            size = bytes_per_row(connection, rule.table, rule.column)
            spans = list(_spans(connection, rule))
        rows = 0
        for span in spans:
            with database.write() if writing else database.read() as connection:
                limit_memory(connection)
                connection.execute(f"CREATE TEMP TABLE labelled AS {labelled_threads(labelled)}")
                rows += act(connection, rule.chosen.replace("{span}", span), rule)
        reports.append(RuleReport(rule.name, rule.table, rows, round(rows * size)))
    return reports


def _rules(policy: RetentionSettings, now: datetime) -> Iterator[_Rule]:
    """Yield the active rules in order; cut-offs are at UTC midnight, so that no hour or day is divided."""

    def before(days: int) -> datetime:
        return datetime.combine(now.date(), datetime.min.time()) - timedelta(days=days)

    if policy.threads_days:
        until = before(policy.threads_days)
        chosen = _OLD_THREADS.replace("{until}", literal(until)).replace("{popular}", literal(policy.popular_replies))
        yield _Rule("threads", "thread_ops", "posted_at", until, chosen, _FORGET_THREADS)
    if policy.html_days:
        until = before(policy.html_days)
        yield _Rule("raw HTML", "thread_ops", "posted_at", until, _OLD_HTML, _STRIP_HTML, column="op_text")
    if policy.observations_full_days:
        until = before(policy.observations_full_days)
        hourly = before(policy.observations_hourly_days) if policy.observations_hourly_days else datetime.min
        chosen = _SURPLUS_OBSERVATIONS.replace("{hourly}", literal(hourly))
        yield _thinning("observations", "thread_observations", "seen_at - INTERVAL 1 MICROSECOND", until, chosen)
        yield _thinning("polls", "catalog_snapshots", "snapshot_at", until, _SURPLUS_POLLS)
    if policy.price_days:
        until = before(policy.price_days)
        yield _thinning("prices", "coin_prices", '"at" - INTERVAL 1 MICROSECOND', until, _SURPLUS_PRICES)


def _thinning(name: str, table_name: str, dated_by: str, until: datetime, chosen: str) -> _Rule:
    return _Rule(name, table_name, dated_by, until, chosen, (f"DELETE FROM {table_name} WHERE rowid IN (FROM chosen)",))


def _spans(connection: duckdb.DuckDBPyConnection, rule: _Rule) -> Iterator[str]:
    """Yield conditions for ranges of entire days, oldest first, with about :data:`ROWS_AT_A_TIME` rows each."""
    days = connection.execute(
        f"SELECT date_trunc('day', {rule.dated_by}) AS day, count(*) FROM {rule.table} "
        f"WHERE {rule.dated_by} < {literal(rule.until)} GROUP BY day ORDER BY day"
    ).fetchall()
    since, rows = None, 0
    for day, count in days:
        if since is not None and rows + count > ROWS_AT_A_TIME:
            yield _between(rule, since, day)
            since, rows = None, 0
        since, rows = since or day, rows + count
    if since is not None:
        yield _between(rule, since, rule.until)


def _between(rule: _Rule, since: datetime, until: datetime) -> str:
    return f"({rule.dated_by} >= {literal(since)} AND {rule.dated_by} < {literal(until)})"


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row  # an aggregate always gives one
    return int(row[0])
