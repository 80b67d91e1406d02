"""Repairs Dagster's schedules after a clock that was ahead: a tick in the future silences its schedule until then."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bizcharts_pipeline.core import postgres
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.ledgers import Rows, transaction
from bizcharts_pipeline.service import instance_storage

SCHEDULES = Path("schedules") / "schedules.db"  # below DAGSTER_HOME
_TIMES = ("start_timestamp", "last_iteration_timestamp", "last_tick_timestamp", "last_tick_start_timestamp")


def forget_future(dagster_home: Path, now: float, words: str | None = None, *, dry_run: bool = False) -> int:
    """Delete the ticks after ``now`` (Unix seconds) and the later times stored for running schedules; return the number
    of ticks. With ``words``, the connection string of the database that may hold Dagster's records, also from there.
    With ``dry_run``, the ticks are only counted.

    Dagster must not be running, as its daemon caches them. A schedule that was stopped by hand stays stopped.

    Raises:
        sqlite3.Error: the records cannot be written.
    """
    ticks, path = 0, dagster_home / SCHEDULES
    if path.exists():
        with closing(sqlite3.connect(path, timeout=30)) as file, file:
            ticks += _forget(file.execute, now, dry_run)
    if words is not None:
        with closing(postgres.connect(words, instance_storage.SCHEMA, postgres.AWAY_SECONDS)) as connection:
            if connection.tables():
                with transaction(connection):
                    ticks += _forget(connection.execute, now, dry_run)
    return ticks


def _forget(execute: Callable[..., Rows], now: float, dry_run: bool) -> int:
    future, moment = "FROM job_ticks WHERE timestamp > ?", (f"{from_epoch(now):%Y-%m-%d %H:%M:%S}",)
    if dry_run:
        return int(execute(f"SELECT count(*) {future}", moment).fetchall()[0][0])
    ticks = execute(f"DELETE {future}", moment).rowcount
    for table, body in (("instigators", "instigator_body"), ("jobs", "job_body")):
        for row, text in execute(f"SELECT id, {body} FROM {table} WHERE status <> 'STOPPED'").fetchall():
            if _latest(text) > now:
                execute(f"DELETE FROM {table} WHERE id = ?", (row,))
    return ticks


def _latest(body: str) -> float:
    """Return the latest time in Dagster's stored state of a schedule or sensor."""

    def times(value: object) -> list[float]:
        if not isinstance(value, dict):
            return []
        own = [float(value[name]) for name in _TIMES if isinstance(value.get(name), int | float)]
        return own + [time for inner in value.values() for time in times(inner)]

    return max(times(json.loads(body)), default=0.0)
