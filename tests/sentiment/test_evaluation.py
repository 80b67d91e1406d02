"""The figures agree with the field's own implementation."""

import random

import pytest

from bizcharts_pipeline.sentiment.evaluation import EvaluationError, evaluate
from bizcharts_pipeline.sentiment.scorer import Score


def _sample(n: int, seed: int) -> tuple[list[Score], list[int]]:
    rng = random.Random(seed)
    scores, truth = [], []
    for _ in range(n):
        odds = [rng.choice([0.2, 0.5, 1.0, 2.0]) for _ in range(3)]
        scores.append(Score(*(odd / sum(odds) for odd in odds)))
        truth.append(rng.choices(range(3), odds)[0])
    return scores, truth


def test_the_figures_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, truth = _sample(400, seed=1)
    rows = [(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores]
    said = [row.index(max(row)) for row in rows]
    result = evaluate(scores, truth)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert [list(row) for row in result.confusion] == metrics.confusion_matrix(truth, said).tolist()
    sided = [(score.score, true == 2) for score, true in zip(scores, truth, strict=True) if true != 1]
    assert result.bull_bear_auc == pytest.approx(
        metrics.roc_auc_score([side for _, side in sided], [s for s, _ in sided])
    )


def test_honest_probabilities_have_a_small_calibration_error_and_boasts_a_large_one() -> None:
    scores, truth = _sample(6_000, seed=2)
    assert evaluate(scores, truth).ece < 0.03
    boasts = [Score(0.98, 0.01, 0.01)] * len(truth)
    assert evaluate(boasts, truth).ece == pytest.approx(0.98 - truth.count(0) / len(truth))


def test_a_scorer_that_says_neutral_only() -> None:
    result = evaluate([Score(0.2, 0.6, 0.2)] * 4, [0, 1, 1, 2])
    assert (result.accuracy, result.f1, result.bull_bear_auc) == (0.5, (0.0, pytest.approx(2 / 3), 0.0), 0.5)


def test_one_sided_truth_has_no_auc() -> None:
    assert evaluate([Score(0.2, 0.6, 0.2)], [1]).bull_bear_auc is None


def test_what_does_not_belong_together_is_refused() -> None:
    for scores, truth in (([], []), ([Score(1, 0, 0)], []), ([Score(1, 0, 0)], [3])):
        with pytest.raises(EvaluationError):
            evaluate(scores, truth)
