"""Ledger of serverless endpoints: what was ordered, before it is, and with which price and limits it runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from bizcharts_pipeline.core.ledgers import Connection, connect, marks, of_newer_version, place, transaction, upgrade
from bizcharts_pipeline.pods.errors import PodLedgerError

LEDGER = Path("ledgers") / "endpoints.sqlite"  # below the home
_COLUMNS = "name, model_version, endpoint_id, usd_per_hour, idle_seconds, start_seconds, job_seconds, state"

State = Literal["ordered", "deployed", "deleted"]


@dataclass(frozen=True)
class EndpointRow:
    """An endpoint: its name, its id at RunPod (``None``: not known yet), and what its jobs may cost.

    ``start_seconds`` and ``job_seconds`` are the longest start of a worker and the time-out of a job.
    """

    name: str
    model_version: str
    endpoint_id: str | None
    usd_per_hour: Decimal
    idle_seconds: int
    start_seconds: int
    job_seconds: int
    state: State = "ordered"


class EndpointLedger:
    """The ledger ``path``, created on first use. It is opened for each call; safe for many processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: EndpointRow, now: datetime) -> None:
        """Store the row of a serverless endpoint in place of an earlier one of its name."""
        values = (
            *(row.name, row.model_version, row.endpoint_id, str(row.usd_per_hour), row.idle_seconds),
            *(row.start_seconds, row.job_seconds, row.state, now.isoformat(timespec="microseconds")),
        )
        with self._open() as connection, transaction(connection):
            connection.execute("DELETE FROM endpoints WHERE name = ?", (row.name,))
            connection.execute(f"INSERT INTO endpoints VALUES ({marks(values)})", values)

    def rows(self) -> list[EndpointRow]:
        """Return the rows of all serverless endpoints, by name."""
        with self._open() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM endpoints ORDER BY name").fetchall()
        return [_row(*row) for row in found]

    def deployed(self, endpoint_id: str) -> EndpointRow | None:
        """Return the deployed serverless endpoint with this id."""
        return next((row for row in self.rows() if row.endpoint_id == endpoint_id and row.state == "deployed"), None)

    def deployed_for(self, model_version: str) -> EndpointRow | None:
        """Return the deployed serverless endpoint of a model."""
        return next(
            (row for row in self.rows() if row.model_version == model_version and row.state == "deployed"), None
        )

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        try:
            with closing(connect(self.path)) as connection:
                if not bring_up_to_date(connection):
                    raise PodLedgerError(of_newer_version(self.path))
                yield connection
        except sqlite3.Error as error:
            raise PodLedgerError(f"{place(self.path)}: the ledger of endpoints cannot be used: {error}") from error


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables; return whether this program may use the ledger."""
    return upgrade(connection, [(files("bizcharts_pipeline.endpoints") / "schema.sql").read_text(encoding="utf-8")])


def _row(name: str, model_version: str, endpoint_id: str | None, usd_per_hour: str, *rest: Any) -> EndpointRow:
    return EndpointRow(name, model_version, endpoint_id, Decimal(usd_per_hour), *rest)
