"""`bizcharts alerts`: destinations are tried, deliveries listed, addresses never shown."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from receiver import receiver

from bizcharts_pipeline.alerts.destinations import VARIABLE
from bizcharts_pipeline.alerts.errors import AlertsError, BadDestination
from bizcharts_pipeline.cli.main import bizcharts
from bizcharts_pipeline.cli.output import NoHome

CANARY = "canary0123456789"


def run(*words: str) -> Result:
    return CliRunner().invoke(bizcharts, ["alerts", *words])


def test_the_test_command_tries_each_destination_and_fails_if_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        monkeypatch.setenv(VARIABLE, server.url(f"{CANARY}/200"))
        assert run("test").exit_code == 0
        assert not (tmp_path / "home").exists()  # its name may be mistyped
        (tmp_path / "home").mkdir()
        monkeypatch.setenv(VARIABLE, f"{server.url(f'{CANARY}/200')} {server.url(f'{CANARY}/403')}")
        tried = run("test", "--json")
    assert tried.exit_code == 1
    assert [(one["state"], one["error"]) for one in json.loads(tried.output)] == [
        ("sent", ""),
        ("failed", "it answered 403"),
    ]
    assert [title for _, title, _ in server.messages] == ["BizCharts: test"] * 3
    assert CANARY not in tried.output
    assert run("list").output == "No alerts yet.\n"  # a test is no event


def test_no_destination_and_a_refused_one_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = run("test").exception
    assert isinstance(missing, AlertsError)
    assert str(missing) == "BIZCHARTS_ALERT_URLS is not set, so nothing can be sent; docs/alerts.md shows how."
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv(VARIABLE, f"exec://{CANARY}")
    refused = run("test").exception
    assert isinstance(refused, BadDestination)
    assert CANARY not in str(refused)


def test_list_in_an_installation_without_alerts_creates_nothing_and_refuses_a_missing_home(tmp_path: Path) -> None:
    missing = run("list").exception
    assert isinstance(missing, NoHome)
    assert not (tmp_path / "home").exists()
    (tmp_path / "home").mkdir()
    assert run("list", "--json").output == "[]\n"
    assert list((tmp_path / "home").iterdir()) == []
