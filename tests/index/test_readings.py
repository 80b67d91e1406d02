import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.index.readings import index_values, label_of, labels_of, mid_rank, states_of
from bizcharts_pipeline.index.votes import DAY, HOUR
from bizcharts_pipeline.settings import FearGreedSettings

tenths = st.integers(-10, 10).map(lambda tenth: tenth / 10)


@given(st.lists(tenths, min_size=1, max_size=80), tenths)
def test_the_value_is_the_mid_rank_among_history_and_itself(history, stance):
    stats = pytest.importorskip("scipy.stats")
    value = mid_rank(np.sort(np.array(history)), np.array([stance]))[0]
    # scipy's "mean" kind averages the ranks below and up to; the reading itself is one of N + 1.
    assert value == pytest.approx(stats.percentileofscore([*history, stance], stance, kind="mean"))
    assert 0 < value < 100


def test_history_is_strictly_before_and_no_longer_than_its_length():
    parameters = FearGreedSettings(history_days=60, minimum_history_days=60)
    days = DAY * np.arange(1, 101)
    ends = np.array([60 * DAY, 60 * DAY + HOUR, 100 * DAY])
    stances = np.linspace(-1, 1, 100)
    (values,), history = index_values(ends, (np.array([0.5, 0.5, 1.0]),), days, stances, parameters)
    assert history.tolist() == [59, 60, 60]
    assert values[0] == pytest.approx(100 * 59.5 / 60)
    assert values[1] == pytest.approx(100 * 60.5 / 61)
    # 1.0 is the stance of day 100 itself, which does not count: all 60 of days 40 to 99 lie below.
    assert values[2] == pytest.approx(100 * 60.5 / 61)


def test_the_class_follows_the_printed_whole_number():
    assert [label_of(v) for v in (24.4, 24.6, 44.6, 55, 55.4, 55.6, 75.4, 75.6)] == [
        "Extreme Fear", "Fear", "Neutral", "Neutral", "Neutral", "Greed", "Greed", "Extreme Greed"
    ]  # fmt: skip
    for value in np.linspace(0, 100, 2001).tolist():
        assert label_of(value) == label_of(float(f"{value:.0f}"))
    assert labels_of([24, 26, np.nan, 26]) == ["Extreme Fear", "Fear", None, "Fear"]


def test_the_gravest_reason_names_the_state():
    n_eff = np.array([14.9, 14.9, 20, 20, 40, 40, 40])
    calibrated = np.array([False, True, False, True, True, True, True])
    coverage = np.array([1, 1, 1, 1, 1, 0.4, np.nan])
    assert states_of(n_eff, calibrated, coverage, FearGreedSettings()) == [
        "no reading", "no reading", "calibrating", "thin", "normal", "thin", "normal"
    ]  # fmt: skip
