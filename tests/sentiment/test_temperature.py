"""Temperature scaling: surer or less sure, never another answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.sentiment.temperature import COLDEST, at_temperature, fit_temperature, log_softmax


def world(seed: int, n: int = 3_000) -> tuple[np.ndarray, list[int]]:
    """Log-probabilities, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    told = log_softmax(rng.normal(size=(n, 3)) * 1.5)
    return told, [int(rng.choice(3, p=row)) for row in np.exp(told)]


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_a_model_that_is_too_sure_by_a_factor_gets_that_temperature(factor: float) -> None:
    told, labels = world(1)
    assert fit_temperature(told * factor, labels) == pytest.approx(factor, rel=0.1)


def test_a_model_that_is_always_right_stays_within_bounds() -> None:
    labels = [0, 1, 2] * 20
    assert fit_temperature(np.eye(3)[labels], labels) == pytest.approx(COLDEST, rel=0.01)


@given(st.lists(st.tuples(*[st.floats(-50, 0)] * 3), min_size=1), st.floats(COLDEST, 20))
def test_the_likeliest_class_stays_the_likeliest(rows: list[tuple[float, float, float]], temperature: float) -> None:
    told = np.array(rows)
    scaled = at_temperature(told, temperature)
    assert np.allclose(scaled.sum(axis=1), 1)
    best = told.argmax(axis=1)
    assert np.array_equal(scaled[np.arange(len(told)), best], scaled.max(axis=1))
