"""Alerts on the operation: stale data, failed runs, pods, budgets."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bizcharts_pipeline.alerts.operation_events import (
    FailedRun,
    Spending,
    budgets,
    failed_runs,
    outliving_pods,
    stale_data,
)
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import State
from bizcharts_pipeline.settings import AlertSettings

NOW = datetime(2026, 11, 28, 12)
SETTINGS = AlertSettings()


def test_data_is_stale_once_for_each_outage_and_a_missing_poll_hides_the_missing_value() -> None:
    polled = NOW - timedelta(minutes=60)
    (event,) = stale_data(polled, NOW - timedelta(hours=9), {}, SETTINGS, NOW)
    (later,) = stale_data(polled, None, {}, SETTINGS, NOW + timedelta(hours=30))
    assert event == later
    assert event.title == "BizCharts: the board was not polled"
    assert stale_data(NOW - timedelta(minutes=59), NOW - timedelta(hours=5), {}, SETTINGS, NOW) == []
    (event,) = stale_data(NOW, NOW - timedelta(hours=6), {}, SETTINGS, NOW)
    assert event.title == "BizCharts: no new value of the index"


def test_what_was_missing_and_comes_again_is_said_once_each_by_itself() -> None:
    missed = NOW - timedelta(hours=3)
    last = {"polls": missed, "readings": missed}
    titles = [event.title for event in stale_data(NOW, NOW - timedelta(hours=1), last, SETTINGS, NOW)]
    assert titles == ["BizCharts: the board is polled again", "BizCharts: the index has values again"]
    (polls,) = stale_data(NOW, NOW - timedelta(hours=7), last, SETTINGS, NOW)
    assert polls.key == f"stale|polls again|{missed.isoformat()}"
    assert stale_data(NOW - timedelta(hours=2), NOW, last, SETTINGS, NOW) == []
    said = last | {"polls again": NOW, "readings again": NOW}
    assert stale_data(NOW, NOW, said, SETTINGS, NOW) == []
    assert len(stale_data(NOW, NOW, said | {"polls": NOW + timedelta(hours=1)}, SETTINGS, NOW)) == 1


def test_an_installation_that_never_polled_is_not_stale() -> None:
    assert stale_data(None, None, {}, SETTINGS, NOW) == []


def test_outages_that_follow_one_another_are_one_alert_within_the_pause() -> None:
    last = {"polls": NOW - timedelta(hours=5)}
    assert stale_data(NOW - timedelta(hours=1), None, last, SETTINGS, NOW) == []
    assert len(stale_data(NOW - timedelta(hours=1), None, last, SETTINGS, NOW + timedelta(hours=1))) == 1


def test_a_failed_run_is_named_by_its_id_and_never_by_its_error() -> None:
    (event,) = failed_runs([FailedRun("0a1b", "training", NOW)])
    assert event.key == "run|training|0a1b"
    assert event.lines == ("Run 0a1b ended at 2026-11-28 12:00 UTC.", "The Dagster UI has its log.")


def pod() -> PodRow:
    created, deadline = NOW - timedelta(hours=2), NOW + timedelta(hours=4)
    return PodRow(
        7, 3, "k", "bizcharts-x", "runpod", "run-1", "pod-1", State.RUNNING, "RTX 4090", None, Decimal("0.690"),
        Decimal("4.14"), created, deadline, None, None, True, created, created, None, None, 0,
    )  # fmt: skip


def test_a_pod_alerts_when_it_outlives_its_run_or_its_limit_and_not_before() -> None:
    ended = NOW - timedelta(minutes=30)
    (event,) = outliving_pods([pod()], lambda _: ended, SETTINGS, NOW)
    assert event.key == "pod|runpod|7|pod-1"
    assert "Pod pod-1 (runpod), 0.690 USD an hour, since 2026-11-28 10:00 UTC" in event.lines
    assert outliving_pods([pod()], lambda _: ended, SETTINGS, NOW - timedelta(minutes=1)) == []
    assert outliving_pods([pod()], lambda _: None, SETTINGS, NOW) == []  # it runs
    assert len(outliving_pods([pod()], lambda _: None, SETTINGS, NOW + timedelta(hours=4, minutes=30))) == 1
    assert len(outliving_pods([pod()], lambda _: datetime.min, SETTINGS, NOW)) == 1  # its record was deleted
    assert outliving_pods([replace(pod(), pod_id=None)], lambda _: ended, SETTINGS, NOW) == []


@pytest.mark.parametrize(
    ("usd", "limit", "expected"), [("7.99", "10", 0), ("8", "10", 1), ("11", "10", 1), ("0", "0", 0)]
)
def test_a_budget_alerts_from_its_share_on(usd: str, limit: str, expected: int) -> None:
    spending = Spending("pods", "pods", "2026-11", Decimal(usd), Decimal(limit))
    assert len(budgets([spending], SETTINGS, NOW)) == expected


def test_a_budget_alerts_once_a_month_and_again_for_a_changed_limit() -> None:
    def key(month: str, limit: str, hours: int) -> str:
        spending = Spending("pods", "pods", month, Decimal("100"), Decimal(limit))
        return budgets([spending], SETTINGS, NOW + timedelta(hours=hours))[0].key

    assert key("2026-11", "10", 0) == key("2026-11", "10.00", 5)
    assert len({key("2026-11", "10", 0), key("2026-12", "10", 0), key("2026-11", "20", 0)}) == 3
