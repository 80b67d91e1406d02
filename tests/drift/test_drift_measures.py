"""The measures of drift, one by one, on made-up numbers."""

import math
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from bizcharts_pipeline.drift.adwin import cuts
from bizcharts_pipeline.drift.alarm import Standing, reference_end, standing, verdict
from bizcharts_pipeline.drift.assess import Evidence, assess
from bizcharts_pipeline.drift.labelled import LabelledPost, accuracy
from bizcharts_pipeline.drift.limits import distance, distance_limit, limits_of
from bizcharts_pipeline.drift.measured import Measured
from bizcharts_pipeline.drift.mix import LAGS, causes_of
from bizcharts_pipeline.drift.panel import build_panel
from bizcharts_pipeline.drift.slang import candidates
from bizcharts_pipeline.drift.texts import CERTAINTY, CONFIDENCE, Texts
from bizcharts_pipeline.drift.windows import HISTORY_DAYS, Window, windows_of
from bizcharts_pipeline.warehouse.scores import ScoredText

FIRST = date(2026, 1, 1)
GOLD = [[40, 5, 5], [5, 40, 5], [25, 0, 25]]  # right on four fifths, and half of the bullish


def made(days: int, per_day: int, text=lambda day, number: "the same words again", probabilities=None):
    """Posts of one day after the other."""
    generator = np.random.default_rng(1)
    posts = []
    for day in range(days):
        for number in range(per_day):
            p = tuple(generator.dirichlet([2, 3, 2])) if probabilities is None else probabilities(day, number)
            entropy = -sum(each * math.log(each) for each in p)
            at = datetime(FIRST.year, FIRST.month, FIRST.day) + timedelta(days=day, seconds=number)
            posts.append(ScoredText(1000 * day + number, at, text(day, number), p, 1 - entropy / math.log(3)))
    return posts


def test_a_further_week_exceeds_its_limits_as_often_as_stated() -> None:
    generator = np.random.default_rng(0)
    one = []
    for *earlier, further in generator.normal(size=(4000, 9)):
        limits = limits_of(np.array(earlier), 0.02)
        one.append(further > limits.centre + limits.reach)
    assert np.mean(one) == pytest.approx(0.02, abs=0.007)
    limit = distance_limit(8, 2, 0.02)
    two = [distance(weeks[:-1], weeks[-1]) > limit for weeks in generator.normal(size=(4000, 9, 2))]
    assert np.mean(two) == pytest.approx(0.02, abs=0.007)


def test_adwin_finds_the_day_of_a_change_and_seldom_one_that_is_not_there() -> None:
    generator = np.random.default_rng(3)
    stream = [generator.beta(2, 2 + (day >= 60), 60) for day in range(80)]
    found = [cut for cut in cuts(stream, 0.001) if cut.found]
    assert 60 <= found[0].seen <= 68
    assert abs(found[0].split - 60) <= 2
    assert found[0].difference < 0
    calm = [[generator.beta(2, 2, 60) for _ in range(60)] for _ in range(40)]
    assert not any(cut.found for stream in calm for cut in cuts(stream, 0.001))


def test_adwin_looks_at_days_with_a_life_of_their_own_with_more_doubt() -> None:
    stream = [np.full(50, 0.5 + 0.02 * (day % 2)) + np.linspace(-0.1, 0.1, 50) for day in range(40)]
    plain, doubtful = cuts(stream, 0.01)[-1], cuts(stream, 0.01, design_effect=4.0)[-1]
    assert doubtful.bound > 1.5 * plain.bound


def test_another_class_mix_alone_moves_neither_confidence_nor_expected_accuracy() -> None:
    """A calibrated scorer on the same kinds of posts, of which other numbers come: prior shift."""
    generator = np.random.default_rng(5)
    shares, kinds = np.array([0.3, 0.4, 0.3]), np.outer([0.0, 1.0, 4.0], [1, 0, 0])

    def posts_of(day, number):
        shifted = np.array([0.1, 0.3, 0.6]) if day >= 70 else shares
        truth = generator.choice(3, p=shifted)
        signal = kinds[truth] + generator.normal(0, 1.5, 3)
        likelihood = np.exp([-((signal - kind) ** 2).sum() / (2 * 1.5**2) for kind in kinds])
        return tuple((shares * likelihood / (shares * likelihood).sum()).clip(1e-9, 1).tolist())

    texts = Texts(build_panel(made(77, 150, probabilities=posts_of), FIRST, 77))
    window = Window(70, 77, 7, 63)
    shift = texts.shift(window)
    error = shift.daily.std(axis=0, ddof=1) / math.sqrt(7)
    raw = [texts.panel.probabilities[texts.panel.posts(*days)].max(axis=1).mean() for days in ((7, 63), (70, 77))]
    for figure in (CONFIDENCE, CERTAINTY):
        assert abs(shift.beyond[figure]) < 4 * error[figure]
    assert abs(raw[1] - raw[0]) > 4 * error[CERTAINTY]  # what it would have been without the class mix


def test_only_a_model_that_is_less_sure_exceeds_its_limits_not_one_that_is_surer() -> None:
    def measured(last_two_weeks: float):
        generator = np.random.default_rng(8)

        def draw(day, number):
            sharpness = last_two_weeks if day >= HISTORY_DAYS - 14 else 4.0
            p = generator.dirichlet(np.roll([sharpness, 1, 1], number)).clip(1e-9, 1)
            return tuple((p / p.sum()).tolist())

        texts = Texts(build_panel(made(HISTORY_DAYS, 60, probabilities=draw), FIRST, HISTORY_DAYS))
        evidence = Evidence(texts, np.zeros(HISTORY_DAYS + LAGS))
        return {each.measure: each for each in assess(evidence, HISTORY_DAYS, with_slang=False)}

    for sharpness, less_sure in ((1.5, True), (12.0, False)):
        found = measured(sharpness)
        for name in ("expected accuracy", "confidence"):
            assert found[name].exceeded is less_sure, (name, found[name])
            assert (found[name].value < found[name].threshold) is less_sure
        assert (found["confidence"].value < 0) is less_sure
        assert abs(found["confidence"].value) > abs(found["confidence"].threshold)


def test_a_classifier_tells_a_week_with_words_of_its_own_from_the_weeks_before() -> None:
    generator = np.random.default_rng(6)
    words = [f"{a}{b}" for a in "bcdfghjk" for b in ("ala", "omo", "iri")]

    def text(day, number):
        chosen = [str(each) for each in generator.choice(words, 8)]
        return " ".join([*chosen, "wagmi"] if day >= 63 and number % 2 else chosen)

    texts = Texts(build_panel(made(70, 60, text), FIRST, 70))
    assert texts.separation(Window(49, 56, 0, 42)) == pytest.approx(0.5, abs=0.05)
    assert texts.separation(Window(63, 70, 0, 56)) > 0.6


def test_rising_terms_name_new_slang_with_posts_and_leave_out_coins_and_single_days() -> None:
    def text(day, number):
        if day >= 63 and number % 6 == 0:
            return "zorbing season for bitcoin again"
        return "flash of one day" if day == 66 and number % 2 else "what do we buy again"

    panel = build_panel(made(70, 30, text), FIRST, 70)
    found = candidates(panel, Window(63, 70, 0, 56))
    names = [each.term for each in found]
    assert "zorbing" in names
    assert "bitcoin" not in names
    assert not any("flash" in name for name in names)
    zorbing = found[names.index("zorbing")]
    assert (zorbing.posts, zorbing.before, zorbing.examples[0]) == (35, 0, 63_000)


def test_a_day_is_explained_by_its_own_returns_and_earlier_ones_only() -> None:
    returns = np.arange(LAGS + 3, dtype=float)
    assert causes_of(returns).tolist() == [[7, 6, 5 + 4 + 3 + 2 + 1], [8, 7, 6 + 5 + 4 + 3 + 2], [9, 8, 25]]


def test_weeks_and_references_do_not_overlap_and_lie_two_weeks_apart() -> None:
    panel = build_panel(made(HISTORY_DAYS, 30), FIRST, HISTORY_DAYS)
    windows = windows_of(panel, HISTORY_DAYS)
    assert not isinstance(windows, str)
    assert len(windows.earlier) == 8
    for each in (windows.present, *windows.earlier):
        assert each.first - each.reference_end == 14
        assert each.reference_end - each.reference_first == 56
        assert each.reference_first >= 0
    assert "are needed" in str(windows_of(build_panel(made(50, 30), FIRST, 50), 50))
    frozen = windows_of(panel, HISTORY_DAYS, HISTORY_DAYS - 30)
    assert not isinstance(frozen, str)
    assert frozen.present.reference_end == HISTORY_DAYS - 30


def test_more_posts_of_a_class_that_the_model_reads_badly_are_no_drift() -> None:
    def labels(bullish: int, right_of_bullish: int) -> list[LabelledPost]:
        others = [LabelledPost(day % 28, 0, 0 if day % 5 else 1) for day in range(200 - bullish)]
        return others + [LabelledPost(day % 28, 2, 2 if day < right_of_bullish else 0) for day in range(bullish)]

    usual = accuracy(labels(20, 10), GOLD, 28, 0.001)
    more_bullish = accuracy(labels(180, 90), GOLD, 28, 0.001)
    assert usual.value is not None
    assert more_bullish.value is not None
    assert more_bullish.value < usual.value - 0.2
    assert not usual.exceeded
    assert not more_bullish.exceeded
    assert accuracy(labels(180, 20), GOLD, 28, 0.001).exceeded
    assert accuracy(labels(180, 20)[:20], GOLD, 28, 0.001).value is None


def test_the_limit_of_the_accuracy_on_labels_is_where_it_counts_as_exceeded() -> None:
    for right in range(0, 41):
        found = accuracy([LabelledPost(5, 0, 0 if place < right else 1) for place in range(40)], GOLD, 28, 0.001)
        assert found.exceeded == (found.value < found.threshold), right


def test_an_alarm_needs_labels_or_two_kinds_of_measures_on_three_days_running() -> None:
    def found(*names: str) -> list[Measured]:
        return [
            Measured(name, 1.0, exceeded=name in names)  # type: ignore[arg-type]
            for name in ("class mix", "domain", "unknown words", "expected accuracy", "confidence", "labels")
        ]

    two = {"domain": True, "expected accuracy": True}
    assert verdict(found("domain", "expected accuracy"), [two, two]).by == ("domain", "expected accuracy")
    assert verdict(found("domain", "expected accuracy"), [{}, two]).by == ()
    assert verdict(found("domain", "expected accuracy"), [two]).by == ()
    mixed = {"class mix": True, "expected accuracy": True}
    assert verdict(found("class mix", "expected accuracy"), [mixed, mixed]).by == ()
    words = {"domain": True, "unknown words": True}
    assert verdict(found("domain", "unknown words"), [words, words]).by == ()
    assert verdict(found("labels"), []).by == ("labels",)
    assert verdict(found(), []).false_alarms_a_month == pytest.approx(0.1)
    assert verdict([Measured("domain", 1.0)], []).false_alarms_a_month == 0


def test_an_alarm_stands_for_a_week_after_it_was_raised_last_with_the_reference_from_before() -> None:
    raised = verdict([Measured("labels", 0.4, exceeded=True)], [])
    quiet = verdict([Measured("labels", 0.6)], [])
    stands = standing(100, raised, None)
    assert stands == Standing(100, 100, ("labels",))
    assert standing(106, quiet, stands) == stands
    assert standing(107, quiet, stands) is None
    assert reference_end(106, stands) == reference_end(101, stands) == 101 - 21
    assert reference_end(140, stands) is None
