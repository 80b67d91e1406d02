"""Whether the band around the gain by more labels keeps its promise, on public texts rated by people.

    python -m benchmarks curve

In each of 42 cases some labels of a set are known; from these alone the text ensemble's learning curve is measured and
extrapolated. Then the ensemble is trained with half as many more labels, with twice and with four times as many, and
judged on thousands of other texts: the gain that the band is to contain. It takes half an hour on an idle core.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.learning_worlds import FOLDER, World, worlds
from benchmarks.measure import Row
from bizcharts_pipeline.labels.worth import gains
from bizcharts_pipeline.models.learning_curve import REPEATS, fit_curve, try_sizes
from bizcharts_pipeline.models.metrics import accuracy, macro_f1
from bizcharts_pipeline.sentiment.calibrated import TextModel
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.fitting import Train
from bizcharts_pipeline.warehouse.learning_curves import LearningCurve

METRICS = ("accuracy", "macro_f1")
# Further forms of the curve, to compare with the one in use: metric = a + b f(labels).
FORMS: Mapping[str, Callable[[float], float]] = {
    "line over log2(labels)": math.log2,
    "power law, exponent 1/2": lambda labels: -(labels**-0.5),
}


@dataclass(frozen=True)
class Case:
    """A curve of the known labels, and what more labels really added: (accuracy, macro-F1) by the factor of labels."""

    name: str
    curve: LearningCurve
    truth: Mapping[float, tuple[float, float]]


def rows() -> Iterator[Row]:
    """Yield every figure; nothing without the public sets."""
    if FOLDER.exists():
        with tempfile.TemporaryDirectory() as home:
            train = EnsembleRecipe(home=Path(home)).trainer()
            yield from summary([measured(world, train) for world in worlds()])


def measured(world: World, train: Train) -> Case:
    """Return the case of a world."""
    trials = try_sizes(train, world.known, seed=0)
    labels, groups = [each.label for each in world.known], [each.group for each in world.known]
    curve = LearningCurve(
        world.name, "ensemble", "", len(labels), REPEATS, *fit_curve(trials, labels, groups, 0), datetime.min
    )
    judged = {times: [_judged(train(part), world.held_out) for part in parts] for times, parts in world.more.items()}
    means = {times: tuple(map(statistics.fmean, zip(*of, strict=True))) for times, of in judged.items()}
    now = means.pop(1.0)
    return Case(world.name, curve, {times: (of[0] - now[0], of[1] - now[1]) for times, of in means.items()})


def summary(cases: Sequence[Case]) -> Iterator[Row]:
    """Yield coverage, width and error of the bands, and the error of other forms of the curve."""
    for metric, name in enumerate(METRICS):
        for times in cases[0].truth:
            what = f"{name}, {times:g} times the labels"
            found = [gains(case.curve, round((times - 1) * case.curve.labels))[metric] for case in cases]
            truth = [case.truth[times][metric] for case in cases]
            inside = [gain.lo <= true <= gain.hi for gain, true in zip(found, truth, strict=True)]
            note = f"{sum(inside)} of {len(inside)} cases; promised: 0.8"
            yield f"{what}: within the band", statistics.fmean(inside), "", note
            width = statistics.fmean(gain.hi - gain.lo for gain in found)
            yield f"{what}: width of the band", 100 * width, "points", f"real gain: {100 * statistics.fmean(truth):.1f}"
            yield from _errors(what, [gain.value for gain in found], truth)
            for form, f in FORMS.items():
                values = [_extrapolated(case.curve, metric, times, f) for case in cases]
                yield from _errors(f"{what}, {form}", values, truth)


def _errors(what: str, found: Iterable[float], truth: Iterable[float]) -> Iterator[Row]:
    errors = [100 * (value - true) for value, true in zip(found, truth, strict=True)]
    rms = math.sqrt(statistics.fmean(error * error for error in errors))
    yield f"{what}: error", rms, "points", f"root mean square; promised too much by {statistics.fmean(errors):+.2f}"


def _extrapolated(curve: LearningCurve, metric: int, times: float, f: Callable[[float], float]) -> float:
    x = [f(point.labels) for point in curve.points]
    y = [(point.accuracy, point.macro_f1)[metric] for point in curve.points]
    return statistics.linear_regression(x, y).slope * (f(times * curve.labels) - f(curve.labels))


def _judged(model: TextModel, held_out: Sequence[TextExample]) -> tuple[float, float]:
    said = model.log_probabilities([example.post for example in held_out]).argmax(axis=1)
    table = np.zeros((1, 3, 3))
    np.add.at(table, (0, [example.label for example in held_out], said), 1)
    return float(accuracy(table)[0]), float(macro_f1(table)[0])
