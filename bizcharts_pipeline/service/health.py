"""Health of the service: its programs, the database and the age of its last poll, quarantined items, ledgers, model
drift and disk space."""

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import requests

from bizcharts_pipeline.alerts.destinations import check_destinations
from bizcharts_pipeline.alerts.errors import AlertLedgerError, BadDestination
from bizcharts_pipeline.alerts.ledger import LEDGER as ALERTS
from bizcharts_pipeline.alerts.ledger import AlertLedger
from bizcharts_pipeline.core.attempts import Attempts
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.ledgers import is_known, missing_ledgers
from bizcharts_pipeline.core.listening import http_address
from bizcharts_pipeline.drift.words import verdict_sentence
from bizcharts_pipeline.http.deadline import cut_off_after
from bizcharts_pipeline.http.exchange import BoundedSession
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import LabelLedger, LedgerError
from bizcharts_pipeline.labels.recovery import ledger_problem
from bizcharts_pipeline.live import catalog_spool
from bizcharts_pipeline.service.jobs import FOLDER, INSTANCE_FILE, environment
from bizcharts_pipeline.service.login import password_of
from bizcharts_pipeline.service.webserver import WILDCARDS
from bizcharts_pipeline.settings import ServeSettings, Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.drift_reports import standing_alarm
from bizcharts_pipeline.warehouse.errors import DatabaseError
from bizcharts_pipeline.warehouse.installation import Installation

ANSWER_SECONDS = 5
LIVENESS_SECONDS = 60
MAX_POLL_AGE = timedelta(minutes=15)
ALERTS_WITHIN = REJECTED_WITHIN = timedelta(days=1)
MIN_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    what: str
    ok: bool
    detail: str


def health(settings: Settings, now: datetime) -> list[Finding]:
    """Check the service of this installation; ``now`` is naive UTC. What a home that does not exist would say of itself
    is left out."""
    found = [_web_server(settings.serve), _daemon(), *_database(settings, now)]
    if settings.home_path.is_dir():
        found += [_set_aside(settings, now), _ledgers(settings), _alerts(settings, now), _free_disk(settings)]
    return found


def _database(settings: Settings, now: datetime) -> list[Finding]:
    """Check what the database holds; if it cannot be read, return that alone."""
    try:
        return [
            _polls(settings, now),
            _label_ledger(settings),
            _drift(settings),
            _presence(settings),
        ]
    except DatabaseError as error:
        return [Finding("database", False, str(error))]


def _free_disk(settings: Settings) -> Finding:
    """Find a disk of the installation with too little free space: of its disks, that with the least."""
    try:
        free, folder = min((shutil.disk_usage(folder).free, folder) for folder in settings.data_folders)
    except OSError as error:
        return Finding("free disk", False, f"not known: {error.filename}: {error.strerror}")
    where = f" at {folder}" if len(settings.data_folders) > 1 else ""
    return Finding("free disk", free >= MIN_FREE_BYTES, f"{free / 1e9:,.1f} GB{where}")


def _polls(settings: Settings, now: datetime) -> Finding:
    """Find that the last poll is too old, or that there was none, as in a home that the service has just created."""
    polled: datetime | None = None
    if settings.home_path.is_dir() and not Database.configured(settings).exists():
        Installation.of(settings).check()
    else:
        with Database.existing(settings).read() as connection:
            (polled,) = connection.execute("SELECT max(snapshot_at) FROM catalog_snapshots").fetchone() or (None,)
    ok = polled is not None and abs(now - polled) <= MAX_POLL_AGE
    return Finding("last poll", ok, "never" if polled is None else f"{polled:%Y-%m-%d %H:%M} UTC")


def _presence(settings: Settings) -> Finding:
    """Find that there is a database that can be read, or that none is expected yet; its lack shows in the last poll."""
    exists = Database.configured(settings).exists()
    return Finding("database", True, "can be read" if exists else "none yet: the first poll creates it")


def _set_aside(settings: Settings, now: datetime) -> Finding:
    """Find quarantined items, which are skipped because processes were killed while handling them; and count the
    catalogues kept because they could not be read, wholly or in part."""
    items = Attempts.of_home(settings.home_path).set_aside()
    rejected = catalog_spool(settings.home_path).rejected_since(to_epoch(now - REJECTED_WITHIN))
    said = [*items[:5], *([f"{counted(rejected, 'catalogue')} of the last day, in spool/rejected"] if rejected else [])]
    return Finding("set aside", not items, "; ".join(said) or "nothing")


def _ledgers(settings: Settings) -> Finding:
    """Find ledgers that have existed and are missing."""
    try:
        missing = missing_ledgers(settings.home_path)
    except sqlite3.Error as error:
        missing = [str(error)]
    return Finding("ledgers", not missing, " ".join(missing) or "none is missing")


def _label_ledger(settings: Settings) -> Finding:
    """Find labels of the database that the label ledger lacks."""
    problem = None
    if Database.configured(settings).exists():
        try:
            problem = ledger_problem(Database.existing(settings), LabelLedger(settings.home_path / LABELS))
        except LedgerError as error:
            problem = str(error)
    return Finding("label ledger", problem is None, problem or "has all labels of the database")


def _alerts(settings: Settings, now: datetime) -> Finding:
    """Find alerts that did not reach their destination, and addresses that are not allowed."""
    path = settings.home_path / ALERTS
    try:
        check_destinations()
        troubled = AlertLedger(path).troubled(now - ALERTS_WITHIN) if is_known(path) else {}
    except (AlertLedgerError, BadDestination) as error:
        return Finding("alerts", False, str(error))
    said = ", ".join(f"{count} {state} to {destination}" for (destination, state), count in troubled.items())
    return Finding("alerts", not said, f"{said}; see `bizcharts alerts list`" if said else "none was lost within a day")


def _drift(settings: Settings) -> Finding:
    """Find a standing alarm that the model has gone stale."""
    if not Database.configured(settings).exists():
        return Finding("model drift", True, "no report yet: there is no database")
    with Database.existing(settings).read() as connection:
        alarm = standing_alarm(connection)
    said = f"{verdict_sentence([alarm])} See docs/operating.md" if alarm else "no alarm stands"
    return Finding("model drift", alarm is None, said)


def _web_server(serve: ServeSettings) -> Finding:
    host = "127.0.0.1" if serve.host in WILDCARDS else serve.host
    url = f"{http_address(host, serve.port)}/server_info"
    password = password_of()
    headers = {"Authorization": f"Bearer {password}"} if password else {}
    with BoundedSession() as session, cut_off_after(ANSWER_SECONDS):
        session.trust_env = False  # no proxy
        try:
            with session.exchange("GET", url, timeouts=(ANSWER_SECONDS, ANSWER_SECONDS), headers=headers) as answer:
                status = answer.status_code
        except requests.RequestException:
            return Finding("web server", False, f"no answer at {url}")
    return Finding("web server", status == requests.codes.ok, f"answers {status} at {url}")


def _daemon() -> Finding:
    surroundings = environment()
    folder = Path(surroundings["DAGSTER_HOME"])
    if not (folder / INSTANCE_FILE).is_file():  # a query of the heartbeat would create an instance there
        return Finding("daemon", False, f"has never run with DAGSTER_HOME={folder}")
    command = [os.path.join(os.path.dirname(sys.executable), "dagster-daemon"), "liveness-check"]
    try:
        alive = not subprocess.run(
            command, env=surroundings, cwd=FOLDER, capture_output=True, timeout=LIVENESS_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        alive = False
    return Finding("daemon", alive, "its heartbeat is recent" if alive else "no recent heartbeat")
