"""Learning curve as a small SVG image, for a run's metadata and the app."""

from statistics import fmean
from typing import Literal

from bizcharts_pipeline.labels.worth import MAX_GROWTH, gains, growth
from bizcharts_pipeline.training.curve import svg_curve
from bizcharts_pipeline.warehouse.learning_curves import LearningCurve

STEPS = 24  # of the extrapolation

Metric = Literal["accuracy", "macro_f1"]
METRICS: tuple[Metric, ...] = ("accuracy", "macro_f1")
_TITLES = {"accuracy": "Accuracy", "macro_f1": "Macro-F1"}


def svg_learning_curve(curve: LearningCurve, metric: Metric) -> str:
    """Draw a model's learning curve, a metric by the number of labels: as measured, the fitted curve, and its 80 %
    band beyond the labels."""
    measured = [(point.labels, float(getattr(point, metric))) for point in curve.points]
    doubled = curve.accuracy_doubled if metric == "accuracy" else curve.macro_f1_doubled
    level = fmean(value - doubled * growth(labels / curve.labels) for labels, value in measured)

    def fitted(labels: float) -> float:
        return level + doubled * growth(labels / curve.labels)

    now = fitted(curve.labels)
    trained = [labels for labels, _ in measured]
    more = [round((MAX_GROWTH - 1) * curve.labels * step / STEPS) for step in range(STEPS + 1)]
    found = [(curve.labels + each, gains(curve, each)[0 if metric == "accuracy" else 1]) for each in more]
    return svg_curve(
        {
            "measured": measured,
            "at least": [(labels, now + gain.lo) for labels, gain in found],
            "at most": [(labels, now + gain.hi) for labels, gain in found],
            "fitted": [(labels, fitted(labels)) for labels in [*trained, *(labels for labels, _ in found)]],
        },
        f"{_TITLES[metric]} on held-out posts, by the number of labels",
        "labels",
    )
