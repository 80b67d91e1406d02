"""A fetch of a source that a user stops: the run ends and asks nothing more."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets import catalog_snapshot, prices
from bizcharts_pipeline.definitions import resources
from bizcharts_pipeline.prices import rotation
from bizcharts_pipeline.settings import Settings

ASSETS = {"reference_index": prices.reference_index, "catalog_snapshot": catalog_snapshot.catalog_snapshot}
Work = Callable[..., object]


def fetch(asset: str, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    """Materialise ``asset``, with ``work`` in place of its request."""
    monkeypatch.setattr(rotation, "update_reference_index", work)
    monkeypatch.setattr(catalog_snapshot, "poll_catalog", work)
    configured = resources(Settings.model_validate({"home": tmp_path / "home"}))
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        return dg.materialize(
            [ASSETS[asset]],
            instance=instance,
            resources={name: configured[name] for name in ("warehouse", "prices", "fourchan")},
            raise_on_error=False,
        )


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("when", ["at work", "between two attempts"])
def test_a_fetch_that_was_stopped_asks_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asset: str, when: str
) -> None:
    attempts = []

    def attempt(*_: object) -> None:
        attempts.append(when)
        if len(attempts) > 1:
            raise dg.Failure("asked again", allow_retries=False)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        if when == "at work":
            time.sleep(60)
        raise ConnectionError("no answer")

    assert not fetch(asset, attempt, tmp_path, monkeypatch).success
    assert attempts == [when]


@pytest.mark.parametrize(("asset", "most"), [("reference_index", 3), ("catalog_snapshot", 2)])
def test_a_failed_fetch_is_tried_again_and_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asset: str, most: int
) -> None:
    attempts = []

    def attempt(*_: object) -> None:
        attempts.append(asset)
        raise ConnectionError("no answer")

    monkeypatch.setattr(prices, "RETRY_SECONDS", (0, 0))
    monkeypatch.setattr(catalog_snapshot, "RETRY_SECONDS", (0,))
    assert not fetch(asset, attempt, tmp_path, monkeypatch).success
    assert len(attempts) == most
