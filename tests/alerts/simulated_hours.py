"""A thousand simulated hours of the index with changes of class, shifts, an outage and failed runs.

Run as a script, it is the service: ``simulated_hours.py HOME`` searches and sends from where it was killed.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from published_rows import IndexRow, insert_index

from bizcharts_pipeline.alerts.delivery import deliver
from bizcharts_pipeline.alerts.destinations import destinations
from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger
from bizcharts_pipeline.alerts.operation_events import FailedRun
from bizcharts_pipeline.alerts.watch import Runs, watch
from bizcharts_pipeline.index.readings import label_of
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

HOURS = 1_000
BEGIN = datetime(2026, 9, 1)
HOUR = timedelta(hours=1)
OUTAGE = range(600, 612)  # hours without a value
PROGRESS = "hours_done"
STEP = 4  # hours between two searches


def value(hour: int) -> float | None:
    """A mood that changes every 80 hours, flaps at an edge between, and jumps now and then."""
    if hour in OUTAGE:
        return None
    level = (35.0, 44.0, 60.0, 80.0, 30.0)[hour // 80 % 5]
    if level == 44.0:
        return 44.0 + 1.5 * (hour % 2)  # 44 is Fear, 46 printed is Neutral
    return level + 20.0 * (hour % 171 == 170)


def runs() -> list[FailedRun]:
    return [FailedRun(f"run-{hour}", "training", BEGIN + hour * HOUR) for hour in range(50, HOURS, 97)]


def now_of(hour: int) -> datetime:
    """When the service works on an hour: before the next one begins."""
    return BEGIN + hour * HOUR + timedelta(minutes=59)


def rows() -> list[IndexRow]:
    found = []
    for hour in range(HOURS):
        start, shown = BEGIN + hour * HOUR, value(hour)
        label = None if shown is None else label_of(shown)
        state = "no reading" if shown is None else "normal"
        found.append(IndexRow(start, start + HOUR, start + HOUR, shown, label=label, state=state))
    return found


def fill(home: Path) -> None:
    """Write all hours; the service sees of them those that have begun."""
    home.mkdir()
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        insert_index(connection, rows())


def serve(home: Path) -> None:
    settings = Settings(home=home)
    ledger, database = AlertLedger(home / LEDGER), DatabaseFile(home / "bizcharts.duckdb")
    done = home / PROGRESS
    targets = destinations(ledger.hash_key())
    for hour in range(int(done.read_text() or 0) if done.exists() else 0, HOURS, STEP):
        now = now_of(hour + STEP - 1)
        known = Runs(lambda since, now=now: [one for one in runs() if since <= one.ended_at <= now], lambda _: None)
        watch(ledger, database, settings, known, [one.name for one in targets], now)
        while ledger.is_due(now):
            deliver(ledger, targets, settings.alerts.attempts, lambda now=now: now)
        done.write_text(str(hour + STEP))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
