"""All measures of one day."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bizcharts_pipeline.drift.adwin import Cut, cuts
from bizcharts_pipeline.drift.alarm import label_free_level, label_level
from bizcharts_pipeline.drift.labelled import LabelledPost, accuracy
from bizcharts_pipeline.drift.limits import limits_of
from bizcharts_pipeline.drift.measured import COUNTED, LABEL_FREE, Measure, Measured, unmeasured
from bizcharts_pipeline.drift.mix import class_mix
from bizcharts_pipeline.drift.panel import Floats, Panel, standard_error
from bizcharts_pipeline.drift.slang import candidates
from bizcharts_pipeline.drift.texts import CERTAINTY, CONFIDENCE, UNKNOWN, Texts
from bizcharts_pipeline.drift.windows import WEEK, Windows, windows_of

LEAST_AREA = 0.001  # an AUC nearer to 0 or 1 counts as this near


@dataclass(frozen=True)
class Evidence:
    """What the measures read: scored posts, prices, people's labels and the model's figures on gold."""

    texts: Texts
    returns: Floats  # daily log returns: of seven days before the panel's first, then of its days; NaN for gaps
    labelled: Sequence[LabelledPost] = ()
    confusion: Sequence[Sequence[int]] | None = None  # on gold, rows: truth, columns: said

    @property
    def panel(self) -> Panel:
        """The scored posts from which drift is measured."""
        return self.texts.panel


def assess(
    evidence: Evidence, end: int, reference_until: int | None = None, *, with_slang: bool = True
) -> list[Measured]:
    """Return every measure of drift of the week before day ``end`` of the panel.

    Args:
        evidence: what is read; what comes after ``end`` is not looked at.
        end: the first day after the week.
        reference_until: the day before which the reference has to end, if that is earlier than usual.
        with_slang: whether to search for terms that rose.
    """
    labels = accuracy(evidence.labelled, evidence.confusion, end, label_level())
    windows = windows_of(evidence.panel, end, reference_until)
    if isinstance(windows, str):
        return [*(unmeasured(measure, windows) for measure in LABEL_FREE), labels]
    level = label_free_level(len(COUNTED))
    return [
        class_mix(evidence.panel, evidence.returns, windows, level),
        _domain(evidence.texts, windows, level),
        _unknown_words(evidence.texts, windows, level, with_slang),
        _expected_accuracy(evidence.texts, windows, level),
        _confidence(evidence.texts, windows, level),
        labels,
    ]


def _domain(texts: Texts, windows: Windows, level: float) -> Measured:
    """Return the classifier's AUC against that of earlier weeks. The limit is computed from logits, as it would lie
    above 1 otherwise, where topics come and go."""
    from scipy.special import expit, logit

    earlier = np.array([texts.separation(each) for each in windows.earlier])
    limits = limits_of(logit(earlier.clip(LEAST_AREA, 1 - LEAST_AREA)), level)
    found, threshold = texts.separation(windows.present), float(expit(limits.centre + limits.reach))
    return Measured(
        "domain",
        value=found,
        reference=float(expit(limits.centre)),
        threshold=threshold,
        exceeded=found > threshold,
        n=texts.shift(windows.present).n,
        details={"earlier_weeks": len(earlier)},
    )


def _unknown_words(texts: Texts, windows: Windows, level: float, with_slang: bool) -> Measured:
    found = _shifted("unknown words", texts, windows, UNKNOWN, level, +1)
    rose = [asdict(each) for each in candidates(texts.panel, windows.present)] if with_slang else []
    return Measured(**{**vars(found), "details": {**found.details, "rising_terms": rose}})


def _expected_accuracy(texts: Texts, windows: Windows, level: float) -> Measured:
    """Return the accuracy that calibrated probabilities promise: the mean of the likeliest class's (CBPE)."""
    return _shifted("expected accuracy", texts, windows, CERTAINTY, level, -1)


def _shifted(measure: Measure, texts: Texts, windows: Windows, figure: int, level: float, direction: int) -> Measured:
    """Return a figure of the week's posts, less what the class mix explains, against the same of earlier weeks.

    ``direction``: 1 if a rise counts, -1 if a fall does.
    """
    earlier = np.array([texts.shift(each).beyond[figure] for each in windows.earlier])
    limits, shift = limits_of(earlier, level), texts.shift(windows.present)
    value, beyond = float(shift.mean[figure]), float(shift.beyond[figure])
    expected = value - beyond
    error = 1.96 * standard_error(shift.daily[:, figure])
    return Measured(
        measure,
        value=value,
        lo=value - error,
        hi=value + error,
        reference=expected + limits.centre,
        threshold=expected + limits.centre + direction * limits.reach,
        exceeded=direction * (beyond - limits.centre) > limits.reach,
        n=shift.n,
        details={"earlier_weeks": len(earlier)},
    )


def _confidence(texts: Texts, windows: Windows, level: float) -> Measured:
    """Return the greatest fall of confidence that ADWIN finds at the end of one of the week's days, else the greatest
    change. A rise is no sign of a model that reads worse, so it does not count as exceeded."""
    stream, design_effect = texts.confidence_residuals(windows.present)
    found = [cut for cut in cuts(stream, level / WEEK, design_effect) if cut.seen >= len(stream) - WEEK]
    if not found:
        return unmeasured("confidence", "too few days have posts")

    def falls(cut: Cut) -> bool:
        return cut.found and cut.difference < 0

    chosen = max(found, key=lambda cut: (falls(cut), cut.found, abs(cut.difference) / max(cut.bound, 1e-300)))
    shift = texts.shift(windows.present)
    return Measured(
        "confidence",
        value=chosen.difference,
        reference=0.0,
        threshold=-chosen.bound,
        exceeded=falls(chosen),
        n=shift.n,
        details={"mean": float(shift.mean[CONFIDENCE]), "design_effect": design_effect},
    )
