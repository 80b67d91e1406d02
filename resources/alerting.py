"""Alerts as a Dagster resource. Destinations are read from the environment when used."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.core.clock import from_epoch, naive_utc, utc_now
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from bizcharts_pipeline.alerts.delivery import Outcome
    from bizcharts_pipeline.alerts.events import Event
    from bizcharts_pipeline.alerts.ledger import AlertLedger
    from bizcharts_pipeline.alerts.watch import Runs

SECTIONS = ("alerts", "fear_greed", "pods", "auto_labels", "ml", "labelling")
DATABASE_SECONDS = 20.0  # of the 60 that Dagster gives a sensor
MAX_RUNS = 100
WILL_RETRY = "dagster/will_retry"  # Dagster starts the run again


class Alerting(dg.ConfigurableResource["Alerting"]):
    """What to alert about, and the ledger of alerts; docs/alerts.md. The destinations are in the variable
    BIZCHARTS_ALERT_URLS."""

    home: str = Field(description="The installation's home; contains the ledgers.")
    values: dict[str, dict[str, Any]] = Field(description="The settings that alerts depend on, by section.")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Alerting":
        """Return the resource with the values of the settings that alerts depend on."""
        return cls(home=str(settings.home_path), values=settings.model_dump(mode="json", include=set(SECTIONS)))

    def settings(self) -> Settings:
        """Return the settings used for alerts, validated; the others have their defaults."""
        return Settings.model_validate({"home": self.home, **self.values})

    def is_on(self) -> bool:
        """Whether a destination is set and a kind of event is chosen; needs nothing heavy."""
        from bizcharts_pipeline.alerts.destinations import is_set

        return is_set() and bool(self.values["alerts"]["kinds"])

    def ledger(self) -> "AlertLedger":
        """Return the ledger, which may not exist yet."""
        from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger

        return AlertLedger(Path(self.home) / LEDGER)

    def watch(self, database: Database, instance: dg.DagsterInstance) -> "list[Event]":
        """Search for events and record them; return the new ones.

        Raises:
            BadDestination: a destination is not allowed; nothing is recorded, and nothing is lost for two days.
            BizchartsError: the database or a ledger cannot be read.
        """
        from bizcharts_pipeline.alerts.destinations import destinations
        from bizcharts_pipeline.alerts.watch import watch

        ledger, settings = self.ledger(), self.settings()
        names = [one.name for one in destinations(ledger.hash_key())]
        runs = runs_of(instance, settings.alerts.jobs)
        return watch(ledger, database.waiting(DATABASE_SECONDS), settings, runs, names, utc_now())

    def is_due(self) -> bool:
        """Whether a delivery is due."""
        return self.ledger().is_due(utc_now())

    def send(self) -> "list[Outcome] | None":
        """Send what is due; ``None`` while another process is sending.

        Raises:
            BadDestination: a destination is not allowed; nothing is sent.
            AlertLedgerError: the ledger cannot be used.
        """
        from bizcharts_pipeline.alerts.delivery import deliver
        from bizcharts_pipeline.alerts.destinations import destinations

        ledger = self.ledger()
        return deliver(ledger, destinations(ledger.hash_key()), self.settings().alerts.attempts, utc_now)


def runs_of(instance: dg.DagsterInstance, jobs: tuple[str, ...]) -> "Runs":
    """Return what Dagster's records say about runs; failures are those of ``jobs``."""
    from bizcharts_pipeline.alerts.operation_events import FailedRun
    from bizcharts_pipeline.alerts.watch import Runs

    def failed(since: datetime) -> list[FailedRun]:
        found = []
        for job in jobs:
            chosen = dg.RunsFilter(
                job_name=job, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since.replace(tzinfo=UTC)
            )
            for record in instance.get_run_records(chosen, limit=MAX_RUNS):
                if record.dagster_run.tags.get(WILL_RETRY) != "true":
                    found.append(FailedRun(record.dagster_run.run_id, job, _end(record)))
        return sorted(found, key=lambda run: run.ended_at)

    def ended(run_id: str) -> datetime | None:
        record = instance.get_run_record_by_id(run_id)
        if record is None:  # deleted
            return datetime.min
        return _end(record) if record.dagster_run.is_finished else None

    return Runs(failed, ended)


def _end(record: dg.RunRecord) -> datetime:
    return naive_utc(record.update_timestamp) if record.end_time is None else from_epoch(record.end_time)
