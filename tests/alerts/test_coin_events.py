"""Alerts on a coin: judged by the interval of its change, not by the value."""

from datetime import timedelta

import pytest
from alerts_world import BEGIN, coin
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.alerts.coin_events import coin_spikes, least_change, least_growth
from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.settings import AlertSettings
from bizcharts_pipeline.warehouse.published import CoinReading

SETTINGS = AlertSettings()


def spikes(now: CoinReading, *before: CoinReading) -> list[Event]:
    return coin_spikes({now.coin_symbol: now}, {one.coin_symbol: one for one in before}, {}, SETTINGS, 48)


def test_the_same_rise_is_a_spike_with_many_mentions_and_none_with_few() -> None:
    assert least_growth(6, 1) < SETTINGS.coin_factor < least_growth(240, 40)
    assert spikes(coin("BTC", 0.1, 24), coin("BTC", 0.1, 8)) == []  # three times as many, by chance perhaps
    (event,) = spikes(coin("BTC", 0.1, 240), coin("BTC", 0.1, 40))
    assert event.title == "BizCharts: BTC, many more mentions"
    assert (
        "240 mentions in 48 hours, 40 in the 48 before: with 95 % certainty at least 4.5 times as many" in event.lines
    )


def test_a_new_coin_spikes_only_with_enough_mentions() -> None:
    assert spikes(coin("NEW", 0.1, SETTINGS.coin_mentions - 1)) == []
    assert len(spikes(coin("NEW", 0.1, SETTINGS.coin_mentions))) == 1


def test_the_same_change_of_mood_is_a_spike_with_narrow_intervals_and_none_with_wide_ones() -> None:
    assert spikes(coin("ETH", 0.4, 50, 0.4), coin("ETH", -0.2, 50, 0.4)) == []
    (event,) = spikes(coin("ETH", 0.4, 50, 0.05), coin("ETH", -0.2, 50, 0.05))
    assert event.title == "BizCharts: ETH, a more bullish mood"
    assert event.lines == (
        "At 2026-11-28 01:00 UTC: mood +0.40 (90 % interval +0.35 to +0.45), 50 mentions",
        "48 hours before: mood -0.20 (90 % interval -0.25 to -0.15), 50 mentions",
    )
    (event,) = spikes(coin("ETH", -0.2, 50, 0.05), coin("ETH", 0.4, 50, 0.05))
    assert event.title == "BizCharts: ETH, a more bearish mood"


def test_a_coin_alerts_once_within_its_pause() -> None:
    now = {"BTC": coin("BTC", 0.1, 240)}
    at = BEGIN + timedelta(hours=1)
    recent = {"BTC": at - timedelta(hours=SETTINGS.coin_pause_hours - 1)}
    assert coin_spikes(now, {}, recent, SETTINGS, 48) == []
    assert len(coin_spikes(now, {}, {"BTC": at - timedelta(hours=SETTINGS.coin_pause_hours)}, SETTINGS, 48)) == 1


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_the_lower_end_of_growth_is_below_the_ratio_and_grows_with_the_count(now: int, before: int) -> None:
    low = least_growth(now, before)
    assert low >= 0
    if before:
        assert low <= now / before + 1e-9
    assert least_growth(now + 1, before) > low


@pytest.mark.parametrize(("now", "before"), [(40, 10), (20, 0), (3, 90), (1_000, 1_000)])
def test_the_lower_end_of_growth_is_that_of_wilsons_interval(now: int, before: int) -> None:
    from scipy.stats import binomtest

    share = binomtest(now, now + before).proportion_ci(0.9, method="wilson").low
    assert least_growth(now, before) == pytest.approx(share / (1 - share))


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_a_change_within_the_intervals_counts_as_none(before: float, now: float, spread: float) -> None:
    change = least_change(coin("A", before, 50, spread), coin("A", now, 50, spread))
    assert abs(change) <= abs(now - before)
    assert change == 0 or (change > 0) == (now > before)
    if abs(now - before) < spread - 1e-12:
        assert change == 0
