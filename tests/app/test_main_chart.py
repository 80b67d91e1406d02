"""What is sent to the browser for the chart, and what is believed of what it says."""

import base64
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from bizcharts_pipeline.app.components.gauge import svg_gauge
from bizcharts_pipeline.app.components.main_chart import payload, summary, window_of
from bizcharts_pipeline.app.queries.index import Series, prices_at
from bizcharts_pipeline.app.theme import DARK, LIGHT, moment, usd
from bizcharts_pipeline.core.clock import to_epoch

TEN_YEARS = 87_600
START = 1_420_070_400


def series(count: int = TEN_YEARS, **more: Any) -> Series:
    times = START + 3600 * np.arange(count)
    walk = 50 + 40 * np.sin(np.arange(count) / 500)
    figures = {
        **{"value": walk, "lo": walk - 5, "hi": walk + 5, "stance": walk / 200, "stance_lo": walk / 200 - 0.1},
        **{"stance_hi": walk / 200 + 0.1, "n_eff": np.full(count, 80.0), "coverage": np.ones(count)},
        "price": np.linspace(300, 90_000, count),
    }
    return Series(times, **figures | more, switches=((START + 3600, "tfidf-2"),), outages=(), afterwards=())


def sent(data: dict[str, Any]) -> dict[str, np.ndarray]:
    figures = {name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in data["figures"]}
    return {"times": np.frombuffer(base64.b64decode(data["times"]), "<u4"), **figures}


def test_ten_years_are_sent_with_every_extreme_and_in_little() -> None:
    ten_years = series()
    ten_years.value[33_333], ten_years.coverage[44_444], ten_years.value[55_555] = 99.5, 0.0, np.nan
    data = payload(ten_years, "All", LIGHT, None)
    points = sent(data)
    assert points["times"][[0, -1]].tolist() == ten_years.times[[0, -1]].tolist()
    assert points["value"][points["times"] == ten_years.times[33_333]].tolist() == [99.5]
    assert points["coverage"][points["times"] == ten_years.times[44_444]].tolist() == [0.0]
    assert np.isnan(points["value"][points["times"] == ten_years.times[55_555]]).all()
    assert np.isnan(points["value"]).any()
    assert sum(len(text) for _, text in data["figures"]) + len(data["times"]) < 300_000


def test_what_is_zoomed_into_is_sent_hour_by_hour() -> None:
    ten_years = series()
    window = (START + 3600 * 40_000, START + 3600 * 40_100)
    times = sent(payload(ten_years, "All", LIGHT, window))["times"]
    inside = times[(times >= window[0]) & (times <= window[1])]
    assert np.diff(inside).tolist() == [3600] * 100
    assert times[[0, -1]].tolist() == ten_years.times[[0, -1]].tolist()


@pytest.mark.parametrize(
    "said",
    [
        *(None, 7, "x", {}, {"view": None}, {"view": [1]}, {"view": [2, 1]}, {"view": ["1", "2"]}, {"view": [True, 5]}),
        *({"view": [float("nan"), 5]}, {"view": [1, float("inf")]}, {"view": [-1, 5]}, {"view": [1, 1e300]}),
    ],
)
def test_a_window_that_makes_no_sense_counts_as_none(said: Any) -> None:
    assert window_of(said) is None


def test_a_window_is_taken_as_the_browser_says_it() -> None:
    assert window_of({"view": [START, START + 7200.5]}) == (START, START + 7200.5)


def test_without_an_index_value_the_stance_is_drawn() -> None:
    data = payload(series(48, value=np.full(48, np.nan)), "1 week", DARK, None)
    assert not data["ranked"]
    assert sent(data)["value"].max() == pytest.approx(0.25 + 0.2 * np.sin(47 / 500), abs=1e-6)
    assert data["summary"].startswith("Stance from 2015-01-01 00:00 UTC to 2015-01-02 23:00 UTC")


def test_the_chart_is_told_in_words_too() -> None:
    assert "newest 54, lowest 50, highest 54" in summary(series(48))


def test_a_price_older_than_a_day_is_none() -> None:
    at = datetime(2026, 1, 1)
    ends = np.array([to_epoch(at + timedelta(hours=hours)) for hours in (-1, 0, 24, 26, 49)], np.int64)
    found = prices_at(ends, [(at, 7.0), (at + timedelta(hours=49), 8.0)])
    assert [None if np.isnan(each) else each for each in found] == [None, 7.0, 7.0, None, 8.0]


def test_the_gauge_without_a_reading_shows_a_dash_and_no_needle() -> None:
    drawn = svg_gauge(None, LIGHT)
    assert "–</text>" in drawn
    assert "<line" not in drawn


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        (None, "2026-03-10 23:30 UTC"),
        ("UTC", "2026-03-10 23:30 UTC"),
        ("Europe/Berlin", "2026-03-10 23:30 UTC (2026-03-11 00:30 Europe/Berlin)"),
        ("America/New_York", "2026-03-10 23:30 UTC (19:30 America/New_York)"),
        ("../../etc/passwd", "2026-03-10 23:30 UTC"),
        ("No/Where", "2026-03-10 23:30 UTC"),
    ],
)
def test_times_are_in_utc_and_in_the_viewers_zone(zone: str | None, said: str) -> None:
    assert moment(datetime(2026, 3, 10, 23, 30), zone) == said


def test_a_price_has_as_many_decimals_as_its_size_asks_for() -> None:
    assert [usd(each) for each in (90_123.4, 2.5, 0.00001234, None)] == ["$90,123", "$2.50", "$1.234e-05", "–"]
