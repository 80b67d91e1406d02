"""Paired tests of whether one model is better than another on the same posts.

Two one-sided tests; p is the probability that chance alone would make the first look so much better than the second.

- McNemar's exact test counts the posts that only one of the two predicts correctly (McNemar 1947; the binomial form):
  it uses only right and wrong, and has less power than tests on the probabilities.
- The bootstrap of the mean difference of log loss, over complete groups of near-duplicates: p is the share of resamples
  in which the first is not better (Efron & Tibshirani 1993, ch. 16), with one added to both counts so that it is never
  0.

Holm's step-down method (Holm 1979) controls the family-wise error over all candidates: the probability that any is
promoted by chance is at most the level. Models compared before and not found better belong to the family too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bizcharts_pipeline.models.metrics import losses, percentiles, resampled_sums
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.scorer import Score

REPLICATES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Comparison of the first model with the second on ``n`` posts."""

    n: int
    log_loss: tuple[float, float]
    accuracy: tuple[float, float]
    macro_f1: tuple[float, float]
    difference: float  # log loss of the second minus that of the first
    difference_lo: float  # 95 % interval
    difference_hi: float
    bootstrap_p: float
    mcnemar_p: float


def compare(
    first: Sequence[Score], second: Sequence[Score], truth: Sequence[int], groups: Sequence[int], seed: int
) -> Comparison:
    """Compare two models' scores of the same posts, whose classes are ``truth``."""
    import numpy as np

    one, other = evaluate(first, truth), evaluate(second, truth)
    mine, theirs = losses(first, truth), losses(second, truth)
    sums = resampled_sums(np.column_stack([theirs - mine, np.ones(len(truth))]), groups, REPLICATES, seed)
    differences = sums[:, 0] / sums[:, 1]
    lo, hi = percentiles(differences)
    return Comparison(
        n=len(truth),
        log_loss=(float(mine.mean()), float(theirs.mean())),
        accuracy=(one.accuracy, other.accuracy),
        macro_f1=(one.macro_f1, other.macro_f1),
        difference=float((theirs - mine).mean()),
        difference_lo=lo,
        difference_hi=hi,
        bootstrap_p=(int((differences <= 0).sum()) + 1) / (REPLICATES + 1),
        mcnemar_p=mcnemar(_right(first, truth), _right(second, truth)),
    )


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact one-sided p of McNemar's test of two models: the probability of at least as many posts that
    only the first predicts correctly."""
    gained = sum(a and not b for a, b in zip(first, second, strict=True))
    differing = sum(a != b for a, b in zip(first, second, strict=True))
    ways: int = sum(math.comb(differing, k) for k in range(gained, differing + 1))
    return float(ways / 2**differing)


def holm(p: Sequence[float], others: int = 0) -> list[float]:
    """Return Holm-adjusted p values of the models' paired tests; ``others`` is the number of further tests in the
    family that rejected nothing."""
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) + others - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def _right(scores: Sequence[Score], truth: Sequence[int]) -> list[bool]:
    rows = [(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores]
    return [max(range(3), key=row.__getitem__) == true for row, true in zip(rows, truth, strict=True)]
