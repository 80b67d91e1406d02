"""The stored report of the backtest; no database is read."""

from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.lab.report import Report, stored_report


def backtest(home: Path, as_of: datetime | None) -> Report | None:
    """Return for the app's page Lab the newest report, or the one made as of ``as_of`` (naive UTC); ``None``: there is
    none.

    Raises:
        LabError: it cannot be read.
    """
    return stored_report(home, as_of)
