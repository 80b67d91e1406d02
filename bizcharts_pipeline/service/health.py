"""Health of the service: whether its programs answer, and whether the board was polled lately."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests

from bizcharts_pipeline.service.jobs import FOLDER, environment
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.installation import Installation, is_missing

ANSWER_SECONDS = 5
LIVENESS_SECONDS = 60
MAX_POLL_AGE = timedelta(minutes=15)
MIN_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def health(settings: Settings, now: datetime) -> list[Finding]:
    """Look at the service of this installation; ``now`` is naive UTC.

    Raises:
        DatabaseError: there is no home, or the database cannot be read.
    """
    polled = _last_poll(settings)
    free = shutil.disk_usage(settings.home_path).free
    return [
        _web_server(f"http://{settings.serve.host}:{settings.serve.port}/server_info"),
        _daemon(),
        Finding(
            "last poll",
            polled is not None and abs(now - polled) <= MAX_POLL_AGE,
            "never" if polled is None else f"{polled:%Y-%m-%d %H:%M} UTC",
        ),
        Finding("free disk", free >= MIN_FREE_BYTES, f"{free / 1e9:,.1f} GB"),
    ]


def _last_poll(settings: Settings) -> datetime | None:
    """Return when the board was polled last; ``None``: never, as in a home that the service has just made."""
    if settings.home_path.is_dir() and is_missing(settings.database_path):
        Installation.of(settings).check()
        return None
    with Database.existing(settings).read() as connection:
        row = connection.execute("SELECT max(snapshot_at) FROM catalog_snapshots").fetchone()
    polled: datetime | None = row[0] if row else None
    return polled


def _web_server(url: str) -> Finding:
    try:
        status = requests.get(url, timeout=ANSWER_SECONDS, proxies={"http": ""}).status_code
    except requests.RequestException:
        return Finding("web server", False, f"no answer at {url}")
    return Finding("web server", status == requests.codes.ok, f"answers {status} at {url}")


def _daemon() -> Finding:
    command = [os.path.join(os.path.dirname(sys.executable), "dagster-daemon"), "liveness-check"]
    try:
        alive = not subprocess.run(
            command, env=environment(), cwd=FOLDER, capture_output=True, timeout=LIVENESS_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        alive = False
    return Finding("daemon", alive, "its heartbeat is recent" if alive else "no recent heartbeat")
