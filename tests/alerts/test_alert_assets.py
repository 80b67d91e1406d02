"""Alerts in Dagster: the sensor searches, a run sends, and no record has an address."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation
from published_rows import IndexRow, insert_index
from receiver import receiver

from assets.alerts import alerts
from bizcharts_pipeline.alerts.destinations import VARIABLE
from bizcharts_pipeline.settings import AlertSettings, Settings
from resources.alerting import Alerting
from resources.warehouse import Warehouse
from schedules.alerts import alerts_watch

CANARY = "canary0123456789"
NOW = datetime.now(UTC).replace(tzinfo=None)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


class World:
    """An installation with a warehouse and the resources of alerts."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        home.mkdir()
        self.home, self.instance = home, instance
        self.warehouse = Warehouse(database=str(home / "bizcharts.duckdb"))
        self.alerting = Alerting.from_settings(Settings(home=home, alerts=AlertSettings(class_pause_hours=0)))

    def publish(self, hours_ago: int, value: float) -> None:
        start = HOUR - timedelta(hours=hours_ago)
        with self.warehouse.open().write() as connection:
            insert_index(connection, [IndexRow(start, start, start, value)])

    def tick(self) -> dg.RunRequest | dg.SkipReason:
        resources = {"warehouse": self.warehouse, "alerting": self.alerting}
        with dg.build_sensor_context(instance=self.instance, resources=resources) as context:
            answer = alerts_watch(context)
        assert isinstance(answer, dg.RunRequest | dg.SkipReason)
        return answer

    def run(self) -> dict[str, object]:
        resources = {"warehouse": self.warehouse, "alerting": self.alerting}
        result = dg.materialize([alerts], resources=resources, instance=self.instance)
        (event,) = result.asset_materializations_for_node("alerts")
        return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> World:
    return World(tmp_path / "home", instance)


@dg.op
def failing() -> None:
    raise ValueError(f"text of strangers {CANARY}")


@dg.job
def training() -> None:
    failing()


@pytest.mark.slow
def test_the_first_tick_sends_nothing_of_the_past_and_each_event_is_one_run_and_one_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        monkeypatch.setenv(VARIABLE, server.url())
        world.publish(4, 20)
        world.publish(3, 60)
        training.execute_in_process(instance=world.instance, raise_on_error=False)
        first = world.tick()
        assert isinstance(first, dg.SkipReason)
        assert first.skip_message == "no alert is due"
        world.publish(2, 80)
        assert isinstance(world.tick(), dg.RunRequest)
        assert isinstance(world.tick(), dg.RunRequest)  # still due, and one event
        assert world.run()["sent"] == 3
        assert isinstance(world.tick(), dg.SkipReason)
        assert world.run()["sent"] == 0
    assert sorted(title for _, title, _ in server.messages) == [
        "BizCharts: Greed to Extreme Greed",
        "BizCharts: a run of training failed",
        "BizCharts: the index rose 20 points within an hour",
    ]
    assert CANARY not in repr(server.messages)


def test_a_run_that_dagster_starts_again_is_no_failed_one_yet(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/")
    world.tick()
    failed = training.execute_in_process(instance=world.instance, raise_on_error=False)
    world.instance.add_run_tags(failed.run_id, {"dagster/will_retry": "true"})
    assert isinstance(world.tick(), dg.SkipReason)
    world.instance.add_run_tags(failed.run_id, {"dagster/will_retry": "false"})
    assert isinstance(world.tick(), dg.RunRequest)


def test_a_delivery_error_is_seen_in_the_run_and_no_record_has_the_address(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, f"json://me:{CANARY}@127.0.0.1:1/{CANARY}")
    world.publish(3, 20)
    world.tick()
    world.publish(2, 60)
    world.tick()
    metadata = world.run()
    assert metadata["sent"] == 0
    assert "it was not reached" in str(metadata["trouble"])
    records = []
    for run in world.instance.get_runs():
        records += world.instance.all_logs(run.run_id)
    assert any("it was not reached" in entry.message for entry in records)
    assert CANARY not in repr(records) + repr(metadata) + "".join(capfd.readouterr())
    for file in [*world.home.rglob("*"), *Path(world.instance.root_directory).rglob("*")]:
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


@pytest.mark.slow
def test_the_job_runs_in_a_process_of_its_own_and_leaves_no_part_of_an_address_anywhere(tmp_path: Path) -> None:
    with receiver() as server:
        urls = f"{server.url(f'{CANARY}/200')} {server.url(f'{CANARY}/404')}"
        installation = Installation(tmp_path, "http://127.0.0.1:1", extra={VARIABLE: urls})
        output = installation.run_job("send_alerts")
        start = HOUR - timedelta(hours=2)
        with installation.database.write() as connection:
            insert_index(connection, [IndexRow(start - timedelta(hours=1), start, start, 20.0)])
        output += installation.run_job("send_alerts")
        with installation.database.write() as connection:
            insert_index(connection, [IndexRow(start, start, start, 60.0)])
        output += installation.run_job("send_alerts")
        listed = installation.run_here("alerts", "list")
    assert [path.rpartition("/")[2] for path, _, _ in server.messages].count("200") == 2  # class and shift
    assert "it answered 404" in output
    assert listed.stdout.count(" sent ") == 2
    assert CANARY not in output + listed.stdout
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


def test_without_a_destination_nothing_is_searched_imported_or_created(world: World) -> None:
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message == "alerts are off: no destination, or no kind of event"
    assert world.run() == {"state": "off: no destination, or no kind of event"}
    assert not (world.home / "ledgers").exists()
    program = (
        "import sys; from resources.alerting import Alerting; from bizcharts_pipeline.settings import Settings;"
        "before = set(sys.modules); assert not Alerting.from_settings(Settings()).is_on();"
        "print(sorted(name for name in set(sys.modules) - before if 'encodings' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str(
        ["bizcharts_pipeline.alerts", "bizcharts_pipeline.alerts.destinations", "bizcharts_pipeline.alerts.errors"]
    )


def test_a_search_imports_neither_apprise_nor_anything_heavy(world: World) -> None:
    world.publish(2, 60)
    program = (
        "import sys; import bizcharts_pipeline.alerts.watch, bizcharts_pipeline.alerts.delivery;"
        "heavy = ('apprise', 'pandas', 'scipy', 'sklearn', 'torch', 'openai', 'google.genai', 'runpod', 'PIL');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bad_destination_fails_the_tick_in_one_line_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/")
    world.publish(3, 20)
    world.tick()
    world.publish(2, 60)
    monkeypatch.setenv(VARIABLE, f"file:///{CANARY}")
    with pytest.raises(Exception, match="address 1 has a scheme that is not allowed") as refused:
        world.tick()
    assert CANARY not in str(refused.value)
    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/")
    assert isinstance(world.tick(), dg.RunRequest)


def test_while_the_database_is_in_use_what_is_due_is_sent_and_the_search_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.alerting.DATABASE_SECONDS", 0.1)
    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/")
    world.publish(3, 20)
    world.tick()
    with world.warehouse.open().write():
        answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert "bizcharts.duckdb" in str(answer.skip_message)
    world.publish(2, 60)
    world.tick()
    with world.warehouse.open().write():
        assert isinstance(world.tick(), dg.RunRequest)


def test_the_ledger_is_sealed_versioned_and_private(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/")
    world.publish(3, 20)
    before = os.umask(0o077)
    try:
        world.tick()
    finally:
        os.umask(before)
    path = world.alerting.ledger().path
    assert path.with_name("alerts.sqlite.seal").exists()
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    path.with_name("alerts.sqlite.seal").unlink()
    with pytest.raises(Exception, match="written by a newer version of BizCharts"):
        world.tick()
