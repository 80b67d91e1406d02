"""Searches the data for events, from where the last search ended, and records them with their deliveries.

The hours of the index are searched once each, in order. The first search only notes where the index stands. Hours that
became final more than :data:`LOOK_BACK` ago, while nothing searched, are passed over.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from bizcharts_pipeline.alerts.coin_events import COIN, coin_spikes
from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.alerts.index_events import CLASS, INDEX, SHIFT, class_changes, shifts
from bizcharts_pipeline.alerts.ledger import AlertLedger, Past
from bizcharts_pipeline.alerts.operation_events import (
    BUDGET,
    DRIFT,
    POD,
    RETRAIN,
    STALE,
    FailedRun,
    Spending,
    budgets,
    due_trainings,
    failed_runs,
    outliving_pods,
    stale_data,
    stale_model,
)
from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.index.readings import FULL_COVERAGE
from bizcharts_pipeline.models.retraining import Retraining, Terms, retrainings
from bizcharts_pipeline.pods.ledger import LEDGER as PODS
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.as_of import coins_of_hours, index_series
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.drift_reports import DriftRow, standing_alarm
from bizcharts_pipeline.warehouse.published import CoinReading, Reading
from bizcharts_pipeline.warehouse.snapshots import last_poll

LOOK_BACK = timedelta(hours=48)
RUN_OVERLAP = timedelta(hours=1)  # a run may be recorded as failed with a time before the last search


@dataclass(frozen=True)
class Runs:
    """What Dagster knows about runs; times are naive UTC."""

    failed: Callable[[datetime], list[FailedRun]]  # of the watched jobs, that ended since a time
    ended: Callable[[str], datetime | None]  # when a run ended; None while it runs


@dataclass(frozen=True)
class _Position:
    """Where the last search ended."""

    hour: datetime | None  # begin of the newest final hour that was searched
    held: str | None  # the class of the index, as last sent
    at: datetime  # time of the search

    @classmethod
    def parse(cls, text: str) -> "_Position":
        values = json.loads(text)
        hour = values["hour"] and datetime.fromisoformat(values["hour"])
        return cls(hour, values["class"], datetime.fromisoformat(values["at"]))

    def text(self) -> str:
        hour = self.hour and self.hour.isoformat()
        return json.dumps({"hour": hour, "class": self.held, "at": self.at.isoformat()})


@dataclass(frozen=True)
class _Data:
    """What the search reads from the database."""

    readings: list[Reading]  # final hours, the oldest first, from a coin's window before the first new one
    coins: dict[datetime, dict[str, CoinReading]]
    polled: datetime | None
    drift: DriftRow | None  # the standing alarm
    retrainings: tuple[Retraining, ...]


def watch(
    ledger: AlertLedger,
    database: Database,
    settings: Settings,
    runs: Runs,
    destinations: Collection[str],
    now: datetime,
) -> list[Event]:
    """Search for events up to ``now`` (naive UTC) and record them for ``destinations``; return the new ones.

    Raises:
        AlertLedgerError, DatabaseError, PodError, AutoLabelError: a ledger or the database cannot be read.
    """
    past = ledger.past()
    position = _Position.parse(past.note) if past.note else None
    since = now - LOOK_BACK if position is None or position.hour is None else max(position.hour, now - LOOK_BACK)
    with database.read() as connection:
        data = _read(connection, settings, position, since, now)
    events: list[Event] = []
    if position is None:
        held = class_changes(data.readings, None, None, settings.alerts, settings.fear_greed)[1]
    else:
        found, held = _index_events(past, data, settings, position, since)
        events += found
        events += failed_runs(runs.failed(max(min(position.at, now) - RUN_OVERLAP, now - LOOK_BACK)))
    events += _operation_events(past, data, settings, runs, now)
    newest = data.readings[-1].bucket_start if data.readings else position.hour if position else None
    kinds = settings.alerts.kinds
    chosen = [event for event in events if event.kind in kinds]
    return ledger.record(chosen, destinations, past.note, _Position(newest, held, now).text(), now)


def _read(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    position: _Position | None,
    since: datetime,
    now: datetime,
) -> _Data:
    window = timedelta(hours=settings.fear_greed.coin_window_hours)
    readings = [one for one in index_series(connection, "hour", since - window, now) if one.final]
    hours: set[datetime] = set()
    if position is not None and COIN in settings.alerts.kinds:
        covered = {one.bucket_start for one in readings if one.coverage is None or one.coverage >= FULL_COVERAGE}
        hours = {start for start in covered if start > since and start - window in covered}
    coins = coins_of_hours(connection, hours | {hour - window for hour in hours})
    drift = standing_alarm(connection) if DRIFT in settings.alerts.kinds else None
    again = retrainings(connection, settings.home_path, Terms.of(settings)) if RETRAIN in settings.alerts.kinds else ()
    return _Data(readings, {hour: coins[hour] for hour in sorted(coins)}, last_poll(connection), drift, again)


def _index_events(
    past: Past, data: _Data, settings: Settings, position: _Position, since: datetime
) -> tuple[list[Event], str | None]:
    """Return the events of the hours after the last search, and the class that holds after them."""
    new = [one for one in data.readings if one.bucket_start > since]
    with_previous = [one for one in data.readings if one.bucket_start >= since]
    last = past.last.get(CLASS, {}).get(INDEX)
    events, held = class_changes(new, position.held, last, settings.alerts, settings.fear_greed)
    last = past.last.get(SHIFT, {}).get(INDEX)
    events += shifts(with_previous, last, settings.alerts, settings.fear_greed)
    return events + _coin_events(past, data, settings, new), held


def _coin_events(past: Past, data: _Data, settings: Settings, new: Sequence[Reading]) -> list[Event]:
    hours = settings.fear_greed.coin_window_hours
    last, events = dict(past.last.get(COIN, {})), list[Event]()
    for reading in new:
        start = reading.bucket_start
        earlier = start - timedelta(hours=hours)
        if start in data.coins and earlier in data.coins:
            found = coin_spikes(data.coins[start], data.coins[earlier], last, settings.alerts, hours)
            last |= {event.subject: event.happened_at for event in found}
            events += found
    return events


def _operation_events(past: Past, data: _Data, settings: Settings, runs: Runs, now: datetime) -> list[Event]:
    valued = [one.ended_at for one in data.readings if one.value is not None]
    reading = valued[-1] if valued else None
    events = stale_data(data.polled, reading, past.last.get(STALE, {}), settings.alerts, now)
    events += stale_model(data.drift)
    events += due_trainings(data.retrainings, now)
    pods = settings.home_path / PODS
    spendings = []
    month = f"{now:%Y-%m}"
    if is_known(pods) and {POD, BUDGET} & set(settings.alerts.kinds):
        opened = PodLedger(pods)
        events += outliving_pods(opened.live(), runs.ended, settings.alerts, now)
        spendings.append(Spending("pods", "pods", month, opened.spent(month).usd, settings.pods.usd_per_month))
    labels: Path = settings.home_path / AUTO_LABELS
    if is_known(labels) and BUDGET in settings.alerts.kinds:
        with AutoLabelLedger(labels) as opened_labels:
            spent = opened_labels.spent(month=month).usd
        limit = settings.auto_labels.usd_per_month
        spendings.append(Spending("labels by paid models", "auto_labels", month, spent, limit))
    return events + budgets(spendings, settings.alerts, now)
