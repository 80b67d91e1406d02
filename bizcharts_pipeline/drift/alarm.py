"""When the measures add up to an alarm, and how often that happens by chance.

An alarm is raised by the accuracy on labels alone, or by two label-free measures that each exceeded their limits on
three days running. The class mix is none of them: it leaves its limits for as long as the mood has changed. The two
measures of the vocabulary count as one: a fad brings new words and makes no model worse. The two of the model's
confidence count as two. The budget of false alarms is stated first, and the levels of the measures follow from it:

* Label-free: each of ``m`` measures exceeds its limits on a day with the probability ``a`` (Bonferroni), so that two or
  more do with at most ``m a / 2`` (Markov), whatever their correlation. An alarm uses up three such days, so a month of
  30 days has at most ``30 m a / 6`` of them.
* Labels: exceeded on a day with the probability ``b``, so at most ``30 b`` alarms a month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bizcharts_pipeline.drift.measured import COUNTED, LABELS, Measure, Measured
from bizcharts_pipeline.drift.windows import GAP, WEEK

DAYS_RUNNING = 3
NEEDED = 2  # label-free measures
_SAME_AS: dict[str, Measure] = {"unknown words": "domain"}  # counts once with it
MONTH = 30
FROZEN_DAYS = 28
QUIET_DAYS = 7  # after which an alarm that nothing raises ends
FALSE_ALARMS_LABEL_FREE, FALSE_ALARMS_LABELS = 0.075, 0.025  # a month, at most


@dataclass(frozen=True)
class Verdict:
    """Which measures raise an alarm on a day, and how many false ones a month are expected at most."""

    by: tuple[str, ...]  # none: no alarm is raised
    running: tuple[str, ...]  # label-free measures that exceeded their limits on three days running
    false_alarms_a_month: float


def label_free_level(measures: int) -> float:
    """Return the level of each of ``measures`` label-free measures of drift."""
    return FALSE_ALARMS_LABEL_FREE * DAYS_RUNNING * NEEDED / (MONTH * max(1, measures))


def label_level() -> float:
    """Return the level of the measure of drift that is the accuracy on labels."""
    return FALSE_ALARMS_LABELS / MONTH


def verdict(found: Sequence[Measured], before: Sequence[Mapping[str, bool]]) -> Verdict:
    """Return the verdict of a day: which measures of drift raise an alarm.

    ``before`` has the days before, each with whether a measure had exceeded its limits; days without a report are empty
    and stop a run of days.
    """
    last = before[len(before) - DAYS_RUNNING + 1 :] if len(before) >= DAYS_RUNNING - 1 else [{}]
    by_name = {each.measure: each for each in found}
    running = tuple(
        name
        for name in COUNTED
        if name in by_name and by_name[name].exceeded and all(day.get(name, False) for day in last)
    )
    labels = LABELS in by_name and by_name[LABELS].exceeded
    enough = len({_SAME_AS.get(name, name) for name in running}) >= NEEDED
    by = (*((LABELS,) if labels else ()), *(running if enough else ()))
    measurable = [each for each in found if each.value is not None]
    free = sum(each.measure in COUNTED for each in measurable) >= NEEDED
    false = free * FALSE_ALARMS_LABEL_FREE + any(each.measure == LABELS for each in measurable) * FALSE_ALARMS_LABELS
    return Verdict(by, running, false)


@dataclass(frozen=True)
class Standing:
    """An alarm that stands: since which day, on which it was raised last, and by what. Days count from one day on."""

    since: int
    raised: int
    by: tuple[str, ...]


def standing(day: int, judged: Verdict, before: Standing | None) -> Standing | None:
    """Return the drift alarm that stands on ``day``. It ends when nothing has raised it for a week, so that a measure
    near its limit makes one alarm and not several."""
    if judged.by:
        return Standing(before.since if before else day, day, judged.by)
    return before if before and day - before.raised < QUIET_DAYS else None


def reference_end(day: int, before: Standing | None) -> int | None:
    """Return the day before which the weeks that drift is measured against have to end, if that is earlier than usual.

    While an alarm stands, the reference stays the one before it, so that what is wrong does not become what is normal;
    for four weeks at most, as topics change.
    """
    if before is None or day - before.since > FROZEN_DAYS:
        return None
    return before.since + 1 - WEEK - GAP
