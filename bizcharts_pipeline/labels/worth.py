"""What more labels are worth: the learning curve extrapolated, with a band, and the time that labelling takes.

A metric is taken to be a - b * labels ** -EXPONENT, the inverse power law of learning curves (Hestness and others,
"Deep Learning Scaling is Predictable, Empirically", 2017). One exponent for all: of four points, none can be fitted. On
other labelled texts, a line over the logarithm promised too much, and larger exponents too little.

The band is to contain the true gain in 80 of 100 cases. That of the bootstrap contains it in half of them, because all
replicates have the same labels. So its deviation is widened, and the chance of which posts the new labels are of is
added. Both numbers were chosen on the same texts; `python -m benchmarks curve` repeats that.
"""

import math
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.statistics import IDLE_SECONDS
from bizcharts_pipeline.warehouse.labels import median_seconds
from bizcharts_pipeline.warehouse.learning_curves import LearningCurve, newest_curve

MORE = 300
MAX_GROWTH = 4  # times the labels: the extrapolation was not validated beyond that
WORTHWHILE = 0.005  # gain with a doubling of the labels
USUAL_SECONDS = 4.0  # per label, where none was timed

EXPONENT = 0.25
Z = 1.2816  # of the normal distribution: 80 % within
WIDENING = 2.0  # of the bootstrap's deviation
CHANCE = 0.014  # deviation of a metric by the choice of the posts, if all labels were new


class NoWorth(BizchartsError):
    """The gain by that many labels is not known."""


@dataclass(frozen=True)
class Gain:
    """Expected gain of a metric, as a share, and its 80 % band."""

    value: float
    lo: float
    hi: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points (80 %: {100 * self.lo:+.1f} to {100 * self.hi:+.1f})"


@dataclass(frozen=True)
class Worth:
    """What ``more`` labels are expected to add to the ``labels`` that a model was trained on."""

    kind: str  # of the model
    labels: int
    more: int
    minutes: float  # that labelling them takes
    accuracy: Gain
    macro_f1: Gain
    accuracy_doubled: Gain  # by as many labels again
    macro_f1_doubled: Gain
    pays: bool
    measured_at: datetime  # naive UTC

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The figures of what more labels are worth in words; each sentence fits a line of a terminal."""
        takes, are = ("takes", "is") if self.more == 1 else ("take", "are")
        doubled = (
            f"a doubling adds {100 * self.accuracy_doubled.value:.1f} points of accuracy, "
            f"{100 * self.macro_f1_doubled.value:.1f} of macro-F1."
        )
        return (
            f"{counted(self.more, 'more label')} {takes} {self._time} and {are} expected to add",
            f"{self.accuracy} to accuracy and",
            f"{self.macro_f1} to macro-F1.",
            f"Labelling more {'pays' if self.pays else 'no longer pays'}: {doubled}",
            f"Measured on {counted(self.labels, 'training post')}, {self.measured_at:%Y-%m-%d}.",
            "Labels that become gold come on top: no model learns from them.",
        )

    @property
    def _time(self) -> str:
        return f"about {counted(round(self.minutes), 'minute')}" if self.minutes >= 1 else "less than a minute"


def newest_worth(connection: duckdb.DuckDBPyConnection, more: int | None = None) -> Worth | None:
    """Return what ``more`` labels by people add to a model, by the newest learning curve; ``None`` if there is none.

    ``more`` is by default ``MORE``, or fewer if the curve is not extrapolated so far.

    Raises:
        NoWorth: the labels would grow to more than ``MAX_GROWTH`` times as many.
    """
    curve = newest_curve(connection)
    if curve is None:
        return None
    most = (MAX_GROWTH - 1) * curve.labels
    if more is not None and more > most:
        raise NoWorth(
            f"{more:,} more labels: the learning curve of {curve.labels:,} labels is extrapolated to {MAX_GROWTH} "
            f"times as many; ask for at most {most:,}."
        )
    return worth_of(curve, more or min(MORE, most), median_seconds(connection, IDLE_SECONDS) or USUAL_SECONDS)


def worth_of(curve: LearningCurve, more: int, seconds: float) -> Worth:
    """Return what ``more`` labels add to a model of that learning ``curve``, at ``seconds`` a label."""
    accuracy, macro_f1 = gains(curve, more)
    accuracy_doubled, macro_f1_doubled = gains(curve, curve.labels)
    return Worth(
        curve.kind,
        curve.labels,
        more,
        more * seconds / 60,
        accuracy,
        macro_f1,
        accuracy_doubled,
        macro_f1_doubled,
        pays=max(accuracy_doubled.value, macro_f1_doubled.value) >= WORTHWHILE,
        measured_at=curve.computed_at,
    )


def gains(curve: LearningCurve, more: int) -> tuple[Gain, Gain]:
    """Return what ``more`` labels add to a model's accuracy and to its macro-F1: at most what is left to 1."""
    part, best = growth(1 + more / curve.labels), curve.points[-1]
    new = CHANCE * math.sqrt(more / (curve.labels + more))
    return (
        _gain(curve.accuracy_doubled * part, math.hypot(WIDENING * curve.accuracy_sd * part, new), 1 - best.accuracy),
        _gain(curve.macro_f1_doubled * part, math.hypot(WIDENING * curve.macro_f1_sd * part, new), 1 - best.macro_f1),
    )


def growth(times: float) -> float:
    """Return a model's gain by ``times`` as many labels in units of the gain by twice as many; negative below 1."""
    return (1 - math.pow(times, -EXPONENT)) / (1 - math.pow(2, -EXPONENT))


def _gain(value: float, deviation: float, most: float) -> Gain:
    return Gain(*(min(each, most) for each in (value, value - Z * deviation, value + Z * deviation)))
