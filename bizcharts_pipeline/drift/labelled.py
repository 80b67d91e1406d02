"""Accuracy on posts that people labelled at random, compared with the accuracy at the model's evaluation on gold.

Both are compared for the same class mix: the accuracy at evaluation is that of gold's recalls in the mix of the new
labels, so that more posts of a class which the model reads badly are no drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bizcharts_pipeline.drift.measured import LABELS, Measured, unmeasured
from bizcharts_pipeline.labels.trust import wilson

LABELLED_DAYS = 28
MIN_LABELS = 30
CLASSES = 3


@dataclass(frozen=True)
class LabelledPost:
    """A post of the random stream: the class that people gave it and the model's, 0 bearish, 1 neutral, 2 bullish."""

    day: int  # of the panel
    truth: int
    said: int


def accuracy(
    labelled: Sequence[LabelledPost], confusion: Sequence[Sequence[int]] | None, end: int, level: float
) -> Measured:
    """Return, as a measure of drift, the champion's accuracy on the labelled posts of the four weeks before day
    ``end``.

    ``confusion`` is that on gold (rows: truth, columns: said), ``None`` if the model was never evaluated. It counts as
    exceeded where the upper end of Newcombe's interval (1998, from two of Wilson's) for the difference is below zero,
    which has the probability ``level`` if nothing has changed.
    """
    if confusion is None:
        return unmeasured(LABELS, "the model was not evaluated on gold")
    gold = [sum(row) for row in confusion]
    recent = [post for post in labelled if end - LABELLED_DAYS <= post.day < end and gold[post.truth]]
    n = len(recent)
    if n < MIN_LABELS:
        return unmeasured(
            LABELS,
            f"{n} posts of the last {LABELLED_DAYS} days were labelled at random; {MIN_LABELS} are needed",
            n,
        )
    right = sum(post.truth == post.said for post in recent)
    shares = [sum(post.truth == k for post in recent) / n for k in range(CLASSES)]
    expected = sum(shares[k] * confusion[k][k] / gold[k] for k in range(CLASSES) if gold[k])
    variance = sum(shares[k] ** 2 * _variance(confusion[k][k], gold[k]) for k in range(CLASSES) if gold[k])
    worth = expected * (1 - expected) / variance if 0 < expected < 1 else float(sum(gold))  # posts of one class mix
    reach = _normal_quantile(level)
    upper = _difference_end(right / n, n, expected, worth, reach)
    lo, hi = wilson(right, n)
    return Measured(
        LABELS,
        value=right / n,
        lo=lo,
        hi=hi,
        reference=expected,
        threshold=_limit(n, expected, worth, reach),
        exceeded=upper < 0,
        n=n,
        details={"days": LABELLED_DAYS, "gold": sum(gold)},
    )


def _variance(right: int, n: int) -> float:
    """Return the variance of a recall; half a post is added to either side, so that it is never 0."""
    share = (right + 0.5) / (n + 1)
    return share * (1 - share) / n


def _difference_end(now: float, n: int, before: float, worth: float, reach: float) -> float:
    """Return the upper end of Newcombe's interval for the difference of two shares, now less before."""
    upper, lower = wilson(now * n, n, reach)[1], wilson(before * worth, worth, reach)[0]
    return now - before + math.hypot(upper - now, before - lower)


def _limit(n: int, before: float, worth: float, reach: float) -> float:
    """Return the share now below which the upper end of that interval is below 0; 0 if there is none."""
    from scipy.optimize import brentq

    def upper(now: float) -> float:
        return _difference_end(now, n, before, worth, reach)

    return float(brentq(upper, 0, before)) if upper(0) < 0 < upper(before) else 0.0


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(1 - level)
