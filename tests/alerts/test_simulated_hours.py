"""The service is killed at random for a thousand simulated hours: each event once, none lost, none doubled."""

import os
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from subprocess import TimeoutExpired

import pytest
import simulated_hours
from alerts_world import reading
from forked import ForkedProcess, run_script
from receiver import receiver
from simulated_hours import BEGIN, HOUR, HOURS, OUTAGE, PROGRESS, fill, rows, runs

from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.alerts.index_events import class_changes, shifts
from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger
from bizcharts_pipeline.alerts.operation_events import READINGS, failed_runs, stale_data
from bizcharts_pipeline.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_LIVES = 200


def expected() -> dict[str, Event]:
    """The events of all hours at once, without a service."""
    settings = Settings()
    readings = [reading(row.bucket_start, row.value) for row in rows()]
    events = class_changes(readings, None, None, settings.alerts, settings.fear_greed)[0]
    events += shifts(readings, None, settings.alerts, settings.fear_greed)
    events += failed_runs(runs())
    gone = BEGIN + OUTAGE.start * HOUR
    missed = gone + timedelta(hours=settings.alerts.reading_hours)
    events += stale_data(None, gone, {}, settings.alerts, missed)
    back = BEGIN + OUTAGE.stop * HOUR
    events += stale_data(None, back, {READINGS: missed}, settings.alerts, back)
    return {event.key: event for event in events}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("SIGKILL", stage="alerts", expected="each event sent once, or named as unknown")
def test_a_thousand_hours_with_kills_send_each_event_once_lose_none_and_double_none(
    tmp_path: Path,
) -> None:
    home, chance, lives, in_request = tmp_path / "home", random.Random(7), 0, 0
    fill(home)
    service: ForkedProcess | None = None

    def kill_in_every_sixth_request(count: int) -> None:
        nonlocal in_request
        if count % 6 == 0 and service is not None:
            in_request += 1
            service.kill()

    with receiver() as server:
        server.before_answer = kill_in_every_sixth_request
        environment = {**os.environ, "BIZCHARTS_ALERT_URLS": server.url(), "PYTHONPATH": os.pathsep.join(
            [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "alerts")])}  # fmt: skip
        while not (home / PROGRESS).exists() or (home / PROGRESS).read_text() != str(HOURS):
            lives += 1
            assert lives < MAX_LIVES
            script = [simulated_hours.__file__, str(home)]
            service = ForkedProcess(run_script, script, folder=REPOSITORY / "tests", environment=environment)
            with suppress(TimeoutExpired):
                service.wait(chance.uniform(0.5, 6))
            assert service.returncode in (None, 0, -9), service.communicate()
            service.kill()
            service.wait(10)
        arrived = Counter(server.numbers())
    found = AlertLedger(home / LEDGER).deliveries()
    wanted = expected()
    assert {one.key for one in found} == set(wanted)
    assert lives > 5
    assert in_request > 3
    assert set(arrived) <= {event.number for event in wanted.values()}
    states = {one.key: one.state for one in found}
    for key, event in wanted.items():
        count = arrived[event.number]
        assert (states[key], count) in {("sent", 1), ("unknown", 1), ("unknown", 0)}, key
    assert sum(state == "unknown" for state in states.values()) <= in_request + lives
