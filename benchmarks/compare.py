"""Comparison of a run's ratios with those of earlier runs on the same kind of machine.

A figure has regressed if its ratio exceeds the median of the last :data:`RUNS` runs by more than :data:`TOLERANCE` and
by more than :data:`DEVIATIONS` standard deviations. The deviation is the larger of two: that between the earlier runs
(robust, so that one disturbed run does not hide a regression), and the standard error of this run by its own rounds.
Both are taken of logarithms: a cost's noise is proportional to it. With fewer than :data:`MIN_RUNS` earlier runs there
is no verdict. A regression is measured a second time, and the lower ratio counts.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import median

from benchmarks.history import Figure
from benchmarks.measure import robust_deviation

RUNS = 20
MIN_RUNS = 5
TOLERANCE = 0.10
DEVIATIONS = 3


@dataclass(frozen=True)
class Verdict:
    """A figure beside its ``usual`` ratio, the median of ``runs`` earlier ones, and how far above that noise reaches.

    ``allowed`` is a factor of ``usual``; both are ``None`` without enough earlier runs.
    """

    figure: Figure
    runs: int
    usual: float | None = None
    allowed: float | None = None

    @property
    def word(self) -> str:
        """The verdict: regression, as usual, better, or too few runs."""
        if self.usual is None or self.allowed is None:
            return "too few runs"
        change = self.figure.ratio.value / self.usual
        return "regression" if change > self.allowed else "better" if change < 1 / self.allowed else "as usual"


def compare(figures: Sequence[Figure], history: Sequence[Figure]) -> list[Verdict]:
    """Return the verdict on each of ``figures``; ``history`` ascends by time, and may have the figures themselves."""
    past: dict[tuple[str, str, str], list[Figure]] = defaultdict(list)
    for each in history:
        past[_key(each)].append(each)
    return [
        _verdict(figure, [each for each in past[_key(figure)] if each.run.at < figure.run.at][-RUNS:])
        for figure in figures
    ]


def lower(first: Sequence[Figure], second: Sequence[Figure]) -> list[Figure]:
    """Return the figures of ``first``, each with the lower ratio where ``second`` has it too."""
    again = {(figure.room, figure.name): figure for figure in second}
    return [
        min(figure, again.get((figure.room, figure.name), figure), key=lambda each: each.ratio.value)
        for figure in first
    ]


def _verdict(figure: Figure, earlier: Sequence[Figure]) -> Verdict:
    if len(earlier) < MIN_RUNS:
        return Verdict(figure, len(earlier))
    ratio = figure.ratio
    between = robust_deviation([log(each.ratio.value) for each in earlier])
    within = sqrt(1.57 / ratio.rounds) * ratio.spread / ratio.value  # pi / 2: a median varies more than a mean
    allowed = exp(max(log(1 + TOLERANCE), DEVIATIONS * max(between, within)))
    return Verdict(figure, len(earlier), median(each.ratio.value for each in earlier), allowed)


def _key(figure: Figure) -> tuple[str, str, str]:
    return figure.room, figure.name, figure.run.kind
