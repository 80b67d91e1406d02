import numpy as np
import pytest

from bizcharts_pipeline.models.metrics import measure
from bizcharts_pipeline.sentiment.scorer import Score

SAMPLES, POSTS = 100, 150


def beyond_chance(exponent: float) -> float:
    """Return the share of samples in which the calibration error is above what chance explains; the model says the true
    probabilities to the power of ``exponent``, normalised."""
    beyond = 0
    for seed in range(SAMPLES):
        generator = np.random.default_rng(seed)
        true = generator.dirichlet([1.2, 1.6, 0.8], POSTS)
        classes = [int(generator.choice(3, p=row)) for row in true]
        said = true**exponent
        scores = [Score(*map(float, row)) for row in said / said.sum(axis=1, keepdims=True)]
        figures = measure(scores, classes, range(POSTS), seed)
        beyond += figures.ece > figures.ece_if_calibrated
    return beyond / SAMPLES


def test_the_calibration_error_of_a_calibrated_model_is_beyond_chance_in_one_sample_of_twenty():
    assert 0.01 <= beyond_chance(1) <= 0.11  # 0.05, and 3 standard errors


def test_the_calibration_error_of_a_model_that_is_too_sure_is_beyond_chance():
    assert beyond_chance(4) > 0.9


@pytest.mark.parametrize("posts", [1, 5, 11])
def test_fewer_posts_than_bins_have_a_calibration_error_by_chance(posts: int):
    figures = measure([Score(0.1, 0.8, 0.1)] * posts, [1] * posts, range(posts), 1)
    assert 0.2 <= figures.ece_if_calibrated <= 0.8
