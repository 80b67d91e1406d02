"""Trial ledger: every strategy configuration ever run in this installation.

The best of many tries looks good by luck, so the deflated Sharpe ratio counts all of them, also those of earlier runs
that nobody liked. Rows are only added. A configuration that is run again on newer days is the same trial; one that is
run as of a chosen moment is a trial of its own.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.ledgers import Connection, connect, of_newer_version, place, transaction, upgrade
from bizcharts_pipeline.lab.errors import LabError

LEDGER = Path("ledgers") / "trials.sqlite"  # below the home
_STEPS = (
    """
    CREATE TABLE runs (
        configuration  TEXT     NOT NULL,  -- rule, series, price, costs, and the moment of a run as of one
        sharpe         REAL     NOT NULL,  -- a day
        days           INTEGER  NOT NULL,
        run_at         TEXT     NOT NULL   -- UTC, ISO 8601
    );
    CREATE TRIGGER runs_are_never_changed BEFORE UPDATE ON runs
    BEGIN SELECT RAISE(ABORT, 'runs are never changed'); END;
    CREATE TRIGGER runs_are_never_deleted BEFORE DELETE ON runs
    BEGIN SELECT RAISE(ABORT, 'runs are never deleted'); END;
    """,
)


@dataclass(frozen=True)
class Trial:
    """One run of a strategy's configuration."""

    configuration: str
    sharpe: float  # a day
    days: int


@dataclass(frozen=True)
class TrialLedger:
    """The ledger ``path``, created on first use."""

    path: Path

    def record(self, trials: Sequence[Trial], now: datetime) -> None:
        """Add runs of trading rules made at ``now`` (naive UTC).

        Raises:
            LabError: the ledger cannot be written.
        """
        rows = [(trial.configuration, trial.sharpe, trial.days, now.isoformat()) for trial in trials]
        with self._opened() as connection, transaction(connection):
            connection.execute_for_each("INSERT INTO runs VALUES (?, ?, ?, ?)", rows)

    def sharpes(self) -> list[float]:
        """Return the Sharpe ratio a day of each configuration of a trading rule ever run, as its newest run found it.

        Raises:
            LabError: the ledger cannot be read.
        """
        with self._opened() as connection:
            rows = connection.execute(
                "SELECT sharpe FROM runs WHERE rowid IN (SELECT max(rowid) FROM runs GROUP BY configuration) "
                "ORDER BY configuration"
            ).fetchall()
        return [float(row[0]) for row in rows]

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        try:
            with closing(connect(self.path)) as connection:
                if not bring_up_to_date(connection):
                    raise LabError(of_newer_version(self.path))
                yield connection
        except sqlite3.Error as error:
            raise LabError(f"{place(self.path)} cannot be used ({error}); `bizcharts repair` checks it.") from None


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables; return whether this program may use the ledger."""
    return upgrade(connection, _STEPS)
