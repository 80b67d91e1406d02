"""Table ``drift_reports``: each day's measures of drift, and their verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

import duckdb

from bizcharts_pipeline.warehouse.models import champion
from bizcharts_pipeline.warehouse.values import literal, table

VERDICT = "verdict"

_COLUMNS = {
    "day": "DATE",
    "model_version": "VARCHAR",
    "measure": "VARCHAR",
    "value": "DOUBLE",
    "lo": "DOUBLE",
    "hi": "DOUBLE",
    "reference": "DOUBLE",
    "threshold": "DOUBLE",
    "alarm": "BOOLEAN",
    "n": "INTEGER",
    "details": "JSON",
    "computed_at": "TIMESTAMP",
}
_NAMES = ", ".join(_COLUMNS)
_INSERT = f"""
INSERT INTO drift_reports ({_NAMES})
SELECT {_NAMES} FROM {{rows}} AS new
WHERE NOT EXISTS (FROM drift_reports AS d WHERE d.day = new.day AND d.model_version = new.model_version)
"""


@dataclass(frozen=True)
class DriftRow:
    """A row of ``drift_reports``. Figures are ``None`` where nothing was measured; ``details["reason"]`` says why."""

    day: date
    model_version: str
    measure: str
    value: float | None
    lo: float | None
    hi: float | None
    reference: float | None
    threshold: float | None
    alarm: bool
    n: int
    details: Mapping[str, Any] = field(hash=False)
    computed_at: datetime  # naive UTC


def append_report(connection: duckdb.DuckDBPyConnection, rows: Sequence[DriftRow]) -> None:
    """Store the drift reports of days and models that have none yet. Call it inside :meth:`Database.write`."""
    values = [asdict(row) | {"day": row.day.isoformat(), "details": dict(row.details)} for row in rows]
    connection.execute(_INSERT.format(rows=table(values, _COLUMNS)))


def reports_since(connection: duckdb.DuckDBPyConnection, model_version: str, first: date) -> dict[date, list[DriftRow]]:
    """Read the drift reports of a model from ``first`` on from the database, by day."""
    found: dict[date, list[DriftRow]] = {}
    for row in _select(connection, f"model_version = {literal(model_version)} AND day >= DATE '{first.isoformat()}'"):
        found.setdefault(row.day, []).append(row)
    return found


def newest_report(
    connection: duckdb.DuckDBPyConnection, model_version: str, as_of: datetime | None = None
) -> list[DriftRow]:
    """Read from the database the newest drift report of a model that had been made by ``as_of`` (naive UTC); empty if
    there is none.
    """
    made = "TRUE" if as_of is None else f"computed_at <= {literal(as_of)}"
    of_model = f"model_version = {literal(model_version)} AND {made}"
    return _select(connection, f"{of_model} AND day = (SELECT max(day) FROM drift_reports WHERE {of_model})")


def standing_alarm(connection: duckdb.DuckDBPyConnection) -> DriftRow | None:
    """Read from the database the verdict of the champion's newest drift report if it is an alarm."""
    present = champion(connection)
    rows = newest_report(connection, present.model_version) if present else []
    return next((row for row in rows if row.measure == VERDICT and row.alarm), None)


def _select(connection: duckdb.DuckDBPyConnection, condition: str) -> list[DriftRow]:
    rows = connection.execute(f"SELECT {_NAMES} FROM drift_reports WHERE {condition} ORDER BY day, rowid").fetchall()
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return [DriftRow(**row | {"details": json.loads(row["details"])}) for row in found]
