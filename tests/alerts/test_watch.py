"""The search for events in a real database and real ledgers."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from published_rows import CoinRow, IndexRow, insert_coins, insert_index

from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger
from bizcharts_pipeline.alerts.operation_events import FailedRun
from bizcharts_pipeline.alerts.watch import Runs, watch
from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.pods.budget import Caps
from bizcharts_pipeline.pods.ledger import LEDGER as PODS
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.protocol import Candidate, Pod
from bizcharts_pipeline.settings import AlertSettings, PodSettings, Settings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow, append_report
from bizcharts_pipeline.warehouse.models import ModelVersion, promote

NOW = datetime(2026, 11, 28, 12, 10)
HOUR = timedelta(hours=1)
NO_RUNS = Runs(lambda since: [], lambda run_id: None)


class World:
    """A home, a database, and a clock."""

    def __init__(self, home: Path, **settings: object) -> None:
        home.mkdir()
        self.settings = Settings.model_validate({"home": home, **settings})
        self.ledger = AlertLedger(home / LEDGER)
        self.database = DatabaseFile(home / "bizcharts.duckdb")

    def hour(self, start: datetime, value: float, *coins: CoinRow, coverage: float = 1.0) -> None:
        with self.database.write() as connection:
            insert_index(connection, [IndexRow(start, start + HOUR, start + HOUR, value)])
            connection.execute(
                f"UPDATE fear_greed_index SET coverage = {coverage} WHERE bucket_start = '{start.isoformat()}'"
            )
            insert_coins(connection, coins)

    def watch(self, now: datetime = NOW, runs: Runs = NO_RUNS) -> list[str]:
        return [event.title for event in watch(self.ledger, self.database, self.settings, runs, ["a"], now)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def coin(start: datetime, mentions: int, *, final: bool = True) -> CoinRow:
    return CoinRow("BTC", start, start + HOUR, start + HOUR, 0.1, mentions, "hour", float(mentions), final)


@pytest.mark.parametrize(("coverage", "expected"), [(1.0, ["BizCharts: BTC, many more mentions"]), (0.2, [])])
def test_a_coin_is_compared_with_the_window_before_and_not_with_an_outage(
    coverage: float, expected: list[str], world: World
) -> None:
    begin = NOW.replace(minute=0) - HOUR
    world.hour(begin - 48 * HOUR, 50, coin(begin - 48 * HOUR, 10), coverage=coverage)
    world.hour(begin - HOUR, 50, coin(begin - HOUR, 10))
    assert world.watch(NOW - HOUR) == []
    world.hour(begin, 50, coin(begin, 100))
    assert world.watch() == expected
    assert world.watch() == []


def test_an_hour_that_is_corrected_later_gives_no_second_event(world: World) -> None:
    begin = NOW.replace(minute=0) - HOUR
    world.hour(begin - HOUR, 30)
    world.watch(NOW - HOUR)
    world.hour(begin, 50)
    assert world.watch() == ["BizCharts: Fear to Neutral", "BizCharts: the index rose 20 points within an hour"]
    with world.database.write() as connection:
        insert_index(connection, [IndexRow(begin, NOW, NOW, 90.0)])
    assert world.watch(NOW + timedelta(minutes=1)) == []


def test_after_a_long_silence_older_hours_are_passed_over(world: World) -> None:
    begin = NOW.replace(minute=0)
    world.hour(begin - 100 * HOUR, 30)
    world.watch(NOW - 99 * HOUR)
    for hours in (90, 80, 3, 2):
        world.hour(begin - hours * HOUR, 60 if hours > 3 else 90)
    old = FailedRun("old", "training", NOW - 60 * HOUR)
    since: list[datetime] = []
    runs = Runs(lambda moment: since.append(moment) or [old] * (old.ended_at >= moment), lambda _: None)  # type: ignore[func-returns-value]
    assert world.watch(NOW, runs) == ["BizCharts: Fear to Extreme Greed"]
    assert since == [NOW - 48 * HOUR]


def test_a_missing_poll_is_found_and_kinds_that_are_not_chosen_are_not(tmp_path: Path) -> None:
    def run(name: str, *kinds: str) -> list[str]:
        world = World(tmp_path / name, alerts={"kinds": kinds})
        with world.database.write() as connection:
            connection.execute(
                f"INSERT INTO catalog_snapshots BY NAME SELECT TIMESTAMP '{NOW - HOUR}' AS snapshot_at, "
                "150 AS total_threads, 0 AS new_threads, 0 AS changed_threads, false AS not_modified, "
                "0 AS rejected_threads"
            )
        return world.watch()

    assert run("all", "stale", "class") == ["BizCharts: the board was not polled"]
    assert run("none", "class") == []


def test_a_model_that_went_stale_is_one_event_for_each_alarm(world: World) -> None:
    def report(day: int, since: str | None) -> None:
        details = {"by": ["labels"], "since": since, "raised": since}
        row = DriftRow(date(2026, 11, day), "m", VERDICT, 1, None, None, None, None, since is not None, 9, details, NOW)
        with world.database.write() as connection:
            append_report(connection, [row])

    with world.database.write() as connection:
        promote(connection, ModelVersion("m", "tfidf", None, None, NOW, 0.6, 0.5, "champion", "models/x", "0" * 64))
    report(20, None)
    assert world.watch() == []
    report(21, "2026-11-21")
    assert world.watch() == ["BizCharts: the model may have gone stale"]
    report(22, "2026-11-21")
    assert world.watch() == []
    report(26, "2026-11-26")
    assert world.watch() == ["BizCharts: the model may have gone stale"]


def test_a_pod_that_outlives_its_run_and_a_budget_are_found_in_the_ledgers(tmp_path: Path) -> None:
    world = World(tmp_path / "home", pods=PodSettings(usd_per_month=Decimal("5")), alerts=AlertSettings())
    with world.database.write():
        pass
    assert world.watch() == []
    ledger = PodLedger(world.settings.home_path / PODS)
    job = ledger.begin("key", "bizcharts-x", "runpod", "run-1", NOW - 2 * HOUR)
    candidate = Candidate("RTX 4090", "SECURE", None)
    caps = Caps(Decimal(50), Decimal(50))
    row = ledger.book(job.id, None, candidate, Decimal("0.7"), 6 * 3600, caps, NOW - 2 * HOUR, NOW - 2 * HOUR)
    ledger.found(row, Pod("pod-1", "bizcharts-x", "RUNNING", None, None, Decimal("0.7"), None))
    assert world.watch() == ["BizCharts: the budget of pods is nearly spent"]  # 4.20 of 5 USD are reserved
    ended = Runs(lambda since: [], lambda run_id: NOW - HOUR)
    assert world.watch(NOW, ended) == ["BizCharts: a rented pod still exists after its run"]
    assert world.watch(NOW + HOUR, ended) == []
    ledger.end(row, NOW)
    assert world.watch(NOW + 2 * HOUR, ended) == []


def test_the_budget_of_paid_labels_is_that_of_its_ledger_and_month(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    with world.database.write():
        pass

    def reserve(month: str, usd: float) -> None:
        with AutoLabelLedger(world.settings.home_path / AUTO_LABELS) as ledger, ledger.transaction() as connection:
            connection.execute(
                "INSERT INTO reservations (key, run_id, provider, model, endpoint, month, nano_usd, sent_at) "
                "VALUES ('key', 'run', 'openai', 'm', 'chat', ?, ?, 0)",
                (month, int(usd * 1e9)),
            )

    reserve("2026-10", 9.5)
    reserve("2026-11", 7.9)
    assert world.watch() == []  # 7.90 of 10 USD this month
    reserve("2026-11", 0.2)
    assert world.watch() == ["BizCharts: the budget of labels by paid models is nearly spent"]
