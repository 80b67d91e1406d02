import numpy as np
import pytest

from bizcharts_pipeline.models.scale import measure_scale
from bizcharts_pipeline.sentiment.scorer import Score

SURE = {0: Score(1.0, 0.0, 0.0), 1: Score(0.0, 1.0, 0.0), 2: Score(0.0, 0.0, 1.0)}
DULL = {0: Score(0.37, 0.33, 0.3), 1: Score(0.33, 0.34, 0.33), 2: Score(0.3, 0.33, 0.37)}


def gold(seed: int, count: int = 400) -> list[int]:
    return np.random.default_rng(seed).choice(3, count, p=[0.5, 0.3, 0.2]).tolist()


def test_a_model_that_is_always_right_moves_as_people_do():
    truth = gold(1)
    scale = measure_scale([SURE[label] for label in truth], truth, range(len(truth)), 7)
    assert scale.offset == pytest.approx(0, abs=1e-12)
    assert (scale.slope, scale.slope_lo, scale.slope_hi) == pytest.approx((1, 1, 1))


def test_a_dull_model_moves_little_and_says_too_little():
    truth = gold(2)
    scale = measure_scale([DULL[label] for label in truth], truth, range(len(truth)), 7)
    assert scale.slope == pytest.approx(0.07, abs=0.01)
    assert scale.slope_lo <= scale.slope <= scale.slope_hi
    net = (truth.count(2) - truth.count(0)) / len(truth)
    assert net < scale.offset < 0
    # The sampling error of people's net stance, which the model hardly takes part in.
    assert scale.offset_variance == pytest.approx(np.var([label - 1 for label in truth]) / len(truth), rel=0.3)


def test_without_a_class_there_is_no_slope():
    truth = [0, 1] * 50
    scale = measure_scale([DULL[label] for label in truth], truth, range(len(truth)), 7)
    assert (scale.slope, scale.slope_lo, scale.slope_hi) == (None, None, None)
