"""Simulates the label queue on posts with known labels, to measure how many labels it saves.

In each round a part of the posts, by whole groups of near-duplicates, is held out. The rest starts with a few random
labels and gains batches chosen by each strategy; after each batch the macro-F1 on the held-out part is measured. Every
strategy gets the same rounds, so the differences are paired.

Not covered: pictures (the small model reads text only), repeated labels (a tenth of the queue, without effect here),
and a pool a hundred times as large as the labels, which leaves more choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.labels.sampling import Ints, margins, unsure_and_diverse
from bizcharts_pipeline.labels.text_model import Floats, Matrix, probabilities, term_matrix

TESTED_SHARE = 0.3
FIRST_LABELS = 40
BATCH = 20
LAST_LABELS = 300
QUEUE_SHARE = 5 / 9  # share of uncertain, diverse posts in a batch, as among the queue's unlabelled posts
REPLICATES = 10_000
BASELINE = "random"

# Maps probabilities and term rows of the unlabelled posts, the number to choose and a random generator to indices.
Strategy = Callable[[Floats, Matrix, int, np.random.Generator], Ints]


@dataclass(frozen=True)
class Difference:
    """Mean over the rounds of a strategy's figure minus that of random, with its 95 % bootstrap interval over rounds.

    Rounds share posts, so the interval is for these posts, not for all posts of the board.
    """

    mean: float
    lo: float
    hi: float

    def __str__(self) -> str:
        return f"{self.mean:+.3g} ({self.lo:+.3g} to {self.hi:+.3g})"


@dataclass(frozen=True)
class Outcome:
    """Results of one strategy, as means over the rounds."""

    strategy: str
    curve: tuple[tuple[int, float], ...]  # labels, macro-F1
    area: float  # mean macro-F1 along the curve
    area_gain: Difference
    labels_to_goal: float  # rounds that never reach it count as LAST_LABELS
    labels_to_goal_gain: Difference  # negative: labels saved


def _random(predicted: Floats, terms: Matrix, n: int, rng: np.random.Generator) -> Ints:
    return rng.permutation(len(predicted))[:n]


def _queue(predicted: Floats, terms: Matrix, n: int, rng: np.random.Generator) -> Ints:
    chosen = _unsure_and_diverse(predicted, terms, round(n * QUEUE_SHARE), rng)
    rest = np.setdiff1d(np.arange(len(predicted)), chosen)
    return np.concatenate([chosen, rng.permutation(rest)[: n - len(chosen)]])


def _unsure_and_diverse(predicted: Floats, terms: Matrix, n: int, rng: np.random.Generator) -> Ints:
    return unsure_and_diverse(margins(predicted), terms, n, int(rng.integers(2**31)))


def _breaking_ties(predicted: Floats, terms: Matrix, n: int, rng: np.random.Generator) -> Ints:
    return np.argsort(margins(predicted), kind="stable")[:n]


def _entropy(predicted: Floats, terms: Matrix, n: int, rng: np.random.Generator) -> Ints:
    return np.argsort((predicted * np.log(np.maximum(predicted, 1e-12))).sum(axis=1), kind="stable")[:n]


STRATEGIES: dict[str, Strategy] = {
    BASELINE: _random,
    "as the queue": _queue,
    "unsure and diverse alone": _unsure_and_diverse,
    "breaking ties alone": _breaking_ties,
    "entropy": _entropy,
}


def simulate(
    texts: Sequence[str], ratings: Sequence[int], groups: Sequence[int], *, rounds: int = 20, goal: float = 0.9
) -> tuple[Outcome, ...]:
    """Return the outcome of each of :data:`STRATEGIES`, random first, over ``rounds`` rounds.

    ``ratings`` are 1 to 3; near-duplicates share a value of ``groups``; ``goal`` is a share of the macro-F1 with all
    labels. Deterministic.
    """
    terms, truth, group = term_matrix(texts), np.asarray(ratings), np.asarray(groups)
    sizes = list(range(FIRST_LABELS, LAST_LABELS + 1, BATCH))
    curves = {name: np.zeros((rounds, len(sizes))) for name in STRATEGIES}
    goals = np.zeros(rounds)
    for number in range(rounds):
        train, test = _split(group, np.random.default_rng(number))
        goals[number] = goal * _tested(terms, truth, train, test)[0]
        for name, strategy in STRATEGIES.items():
            curves[name][number] = _run(terms, truth, train, test, strategy, np.random.default_rng(number))
    needed = {name: _labels_to(goals, curve, sizes) for name, curve in curves.items()}
    return tuple(
        Outcome(
            strategy=name,
            curve=tuple(zip(sizes, curve.mean(axis=0).tolist(), strict=True)),
            area=float(curve.mean()),
            area_gain=_difference((curve - curves[BASELINE]).mean(axis=1)),
            labels_to_goal=float(needed[name].mean()),
            labels_to_goal_gain=_difference(needed[name] - needed[BASELINE]),
        )
        for name, curve in curves.items()
    )


def _split(group: NDArray[np.int64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    names = rng.permutation(np.unique(group))
    tested = np.isin(group, names[: round(TESTED_SHARE * len(names))])
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def _run(
    terms: Matrix, truth: NDArray[np.int64], train: Ints, test: Ints, strategy: Strategy, rng: np.random.Generator
) -> list[float]:
    order = rng.permutation(train)
    labelled, free = order[:FIRST_LABELS], order[FIRST_LABELS:]
    figures = []
    while True:
        figure, predicted = _tested(terms, truth, labelled, test, free)
        figures.append(figure)
        if len(labelled) >= LAST_LABELS:
            return figures
        chosen = strategy(predicted, terms[free], min(BATCH, len(free)), rng)
        labelled, free = np.concatenate([labelled, free[chosen]]), np.delete(free, chosen)


def _tested(
    terms: Matrix, truth: NDArray[np.int64], labelled: Ints, test: Ints, free: Ints | None = None
) -> tuple[float, Floats]:
    """Return the macro-F1 on ``test`` of a model trained on ``labelled``, and its probabilities for the ``free``
    posts."""
    from sklearn.metrics import f1_score

    asked = test if free is None else np.concatenate([test, free])
    predicted = np.full((len(asked), 3), 1 / 3)
    if len(np.unique(truth[labelled])) == 3:
        predicted = probabilities(terms[labelled], truth[labelled].tolist(), terms[asked])
    score = f1_score(
        truth[test], predicted[: len(test)].argmax(axis=1) + 1, average="macro", labels=(1, 2, 3), zero_division=0
    )
    return float(score), predicted[len(test) :]


def _labels_to(goals: Floats, curve: Floats, sizes: Sequence[int]) -> Floats:
    """Return the number of labels with which each round reaches its goal, by the mean of three consecutive batches."""
    smooth = np.stack([curve[:, max(0, i - 1) : i + 2].mean(axis=1) for i in range(len(sizes))], axis=1)
    reached = smooth >= goals[:, None]
    return np.where(reached.any(axis=1), np.asarray(sizes, np.float64)[reached.argmax(axis=1)], sizes[-1])


def _difference(of_rounds: Floats) -> Difference:
    drawn = np.random.default_rng(0).choice(of_rounds, (REPLICATES, len(of_rounds))).mean(axis=1)
    lo, hi = np.quantile(drawn, (0.025, 0.975))
    return Difference(float(of_rounds.mean()), float(lo), float(hi))
