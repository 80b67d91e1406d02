"""What more labels are worth is measured on posts that no model saw, and said with its uncertainty."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.gate_world import LATER, GateWorld
from training.made_up_posts import made_up

from bizcharts_pipeline.labels.worth import NoWorth, gains, growth, newest_worth, worth_of
from bizcharts_pipeline.models.learning_curve import SHARES, TooFewLabels, Trials, fit_curve, try_sizes
from bizcharts_pipeline.models.learning_curve import update_learning_curve as update
from bizcharts_pipeline.models.learning_curve_plot import svg_learning_curve
from bizcharts_pipeline.sentiment.calibrated import TextModel
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes import lexicon, tfidf
from bizcharts_pipeline.training.recipes.fitting import Train
from bizcharts_pipeline.warehouse.learning_curves import CurvePoint, LearningCurve, append_curve

POINTS = (CurvePoint(50, 0.5, 0.4), CurvePoint(100, 0.55, 0.45), CurvePoint(200, 0.6, 0.5), CurvePoint(400, 0.63, 0.54))
CURVE = LearningCurve("text-a", "ensemble", "abc", 500, 5, POINTS, 0.03, 0.005, 0.04, 0.01, datetime(2026, 3, 1))


class Repeatable(tfidf.TfidfRecipe):
    """TF-IDF that counts how often it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = 0

    def trainer(self) -> Train:
        def train(some: Sequence[TextExample]) -> TextModel:
            self.trained += 1
            return tfidf.train(some)

        return train


def test_each_post_is_predicted_by_models_of_growing_nested_parts_without_its_near_duplicates() -> None:
    examples = made_up(240)
    parts: list[list[TextExample]] = []

    def train(some: Sequence[TextExample]) -> TextModel:
        parts.append(list(some))
        return lexicon.train(some, weighted=True)

    trials = try_sizes(train, examples, seed=1, repeats=2)
    assert trials.predicted.shape == (2, len(SHARES), 240)
    assert len(parts) == 2 * 5 * len(SHARES)
    for first in range(0, len(parts), len(SHARES)):
        fold = parts[first : first + len(SHARES)]
        for smaller, larger in pairwise(fold):
            assert {each.thread_id for each in smaller} < {each.thread_id for each in larger}
        assert {each.label for each in fold[0]} == {0, 1, 2}
        held_out = {each.group for each in examples} - {each.group for each in fold[-1]}
        assert len(held_out) > 10
    assert trials.sizes[-1] == pytest.approx(0.8 * 240, rel=0.02)
    right = (trials.predicted == np.array([each.label for each in examples])).mean(axis=(0, 2))
    assert right[-1] > 0.7


@pytest.mark.slow
@settings(max_examples=20)
@given(st.floats(0.02, 0.08), st.integers(0, 2**16))
def test_a_gain_that_follows_the_curve_is_found_and_its_deviation_is_that_of_the_posts(gain: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    posts, sizes = 3_000, (300.0, 600.0, 1_200.0, 2_400.0)
    truth = rng.integers(0, 3, posts)
    luck = rng.random((3, 1, posts))
    shares = np.array([0.7 + gain * growth(size / posts) for size in sizes])[None, :, None]
    predicted = np.where(luck < shares, truth, (truth + 1) % 3).astype(np.int8)
    points, accuracy, deviation, *_ = fit_curve(Trials(sizes, predicted), truth.tolist(), list(range(posts)), seed)
    assert [point.labels for point in points] == list(sizes)
    assert 0 < deviation < 0.01
    assert accuracy == pytest.approx(gain, abs=5 * deviation)


def test_models_that_never_improve_gain_nothing() -> None:
    predicted = np.tile(np.arange(90) % 2, (2, len(SHARES), 1)).astype(np.int8)
    _, *gained = fit_curve(Trials((9, 18, 36, 72), predicted), [k % 3 for k in range(90)], list(range(90)), 1)
    assert gained == pytest.approx([0, 0, 0, 0], abs=1e-12)


@given(st.floats(0.01, 8), st.floats(0.01, 8))
def test_growth_rises_with_the_labels_and_a_doubling_is_its_unit(one: float, other: float) -> None:
    assert growth(1) == 0
    assert growth(2) == pytest.approx(1)
    assert (growth(one) < growth(other)) == (one < other) or one == other


def test_the_worth_of_labels_is_said_with_its_band_its_time_and_whether_it_pays() -> None:
    worth = worth_of(CURVE, 500, seconds=4)
    assert (worth.accuracy.value, worth.macro_f1.value) == pytest.approx((0.03, 0.04))
    said = str(worth)
    assert "500 more labels take about 33 minutes" in said
    assert "1 more label takes less than a minute and is expected to add" in str(worth_of(CURVE, 1, seconds=4))
    assert "15 more labels take about 1 minute and are" in str(worth_of(CURVE, 15, seconds=4))
    assert "+3.0 points (80 %: " in said
    assert "Labelling more pays: a doubling adds 3.0 points of accuracy, 4.0 of macro-F1." in said
    assert max(map(len, said.splitlines())) <= 80
    little = replace(CURVE, accuracy_doubled=0.004, macro_f1_doubled=-0.002)
    assert "Labelling more no longer pays" in str(worth_of(little, 500, 4))
    nearly = replace(CURVE, points=(CurvePoint(400, 0.985, 0.98),))
    assert [(gain.value, gain.hi) for gain in gains(nearly, 500)] == [
        pytest.approx((left, left)) for left in (0.015, 0.02)
    ]
    few, many = gains(CURVE, 100)[0], gains(CURVE, 1_500)[0]
    assert few.value < many.value
    assert few.hi - few.lo < many.hi - many.lo


def test_a_curve_is_drawn_to_four_times_the_labels() -> None:
    drawn = svg_learning_curve(CURVE, "accuracy")
    assert drawn.count("<polyline") == 4
    assert "labels 50" in drawn
    assert ">2000<" in drawn


def test_the_current_labels_are_measured_once(gated: GateWorld) -> None:
    recipe, text_set = Repeatable(), gated.text_set()
    first = update(gated.database, recipe, text_set, 1, LATER)
    trained = recipe.trained
    assert update(gated.database, recipe, text_set, 1, LATER) == first
    assert recipe.trained == trained
    assert (first.labels, first.dataset_version) == (len(text_set.examples), text_set.dataset_version)
    with gated.database.read() as connection:
        worth = newest_worth(connection)
        with pytest.raises(NoWorth, match="at most"):
            newest_worth(connection, 4 * first.labels)
    assert worth
    assert worth.more == min(300, 3 * first.labels)


def test_too_few_labels_are_named(gated: GateWorld) -> None:
    text_set = gated.text_set()
    few = replace(text_set, examples=text_set.examples[:60], dataset_version="text-few")
    with pytest.raises(TooFewLabels, match=r"30 different posts of each class; \d+ are bearish"):
        update(gated.database, Repeatable(), few, 1, LATER)


def test_the_newest_curve_counts(gated: GateWorld) -> None:
    with gated.database.write() as connection:
        assert newest_worth(connection) is None
        append_curve(connection, replace(CURVE, computed_at=datetime(2026, 3, 2), labels=1_000))
        append_curve(connection, CURVE)
        worth = newest_worth(connection)
    assert worth
    assert worth.labels == 1_000
