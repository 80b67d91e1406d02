"""Repairs Dagster's schedules after a clock that was ahead: a tick in the future silences its schedule until then."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

SCHEDULES = Path("schedules") / "schedules.db"  # below DAGSTER_HOME
_TIMES = ("start_timestamp", "last_iteration_timestamp", "last_tick_timestamp", "last_tick_start_timestamp")


def forget_future(dagster_home: Path, now: float) -> int:
    """Delete the ticks after ``now`` (Unix seconds) and the later times stored for running schedules; return the number
    of ticks.

    Dagster must not be running, as its daemon caches them. A schedule that was stopped by hand stays stopped.

    Raises:
        sqlite3.Error: the file cannot be written.
    """
    path = dagster_home / SCHEDULES
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        ticks = connection.execute("DELETE FROM job_ticks WHERE timestamp > datetime(?, 'unixepoch')", (now,)).rowcount
        for table, body in (("instigators", "instigator_body"), ("jobs", "job_body")):
            rows = connection.execute(f"SELECT id, {body} FROM {table} WHERE status <> 'STOPPED'").fetchall()
            late = [(row,) for row, text in rows if _latest(text) > now]
            connection.executemany(f"DELETE FROM {table} WHERE id = ?", late)
    return ticks


def _latest(body: str) -> float:
    """Return the latest time in Dagster's stored state of a schedule or sensor."""

    def times(value: object) -> list[float]:
        if not isinstance(value, dict):
            return []
        own = [float(value[name]) for name in _TIMES if isinstance(value.get(name), int | float)]
        return own + [time for inner in value.values() for time in times(inner)]

    return max(times(json.loads(body)), default=0.0)
