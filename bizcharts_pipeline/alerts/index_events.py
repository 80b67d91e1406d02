"""Events of the published index: changes of its class, and shifts within an hour. Only final hours count."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from bizcharts_pipeline.alerts.events import Event, utc
from bizcharts_pipeline.index.readings import CLASS_EDGES, LABELS, label_of
from bizcharts_pipeline.index.words import class_in_words, place_in_words, state_in_words
from bizcharts_pipeline.settings import AlertSettings, FearGreedSettings
from bizcharts_pipeline.warehouse.published import Reading

CLASS, SHIFT = "class", "shift"
INDEX = "index"  # the subject of these events
HOUR = timedelta(hours=1)


def class_changes(
    readings: Sequence[Reading],
    held: str | None,
    last: datetime | None,
    settings: AlertSettings,
    parameters: FearGreedSettings,
) -> tuple[list[Event], str | None]:
    """Return as events to alert about the changes of class in hourly ``readings``, the oldest first, and the class
    that holds after them.

    The class changes when the printed value is ``class_margin`` points beyond its edge and the last change, ``last``,
    is at least ``class_pause_hours`` old. A change within that pause is reported after it, if the value still asks for
    it. ``held`` is the class before the first reading; ``None``: the first value sets it.
    """
    events: list[Event] = []
    pause = timedelta(hours=settings.class_pause_hours)
    for reading in _valued(readings):
        label, at = label_of(_value(reading)), reading.ended_at
        if held is None:
            held = label
        elif _has_left(held, _value(reading), settings.class_margin) and (last is None or at - last >= pause):
            title = f"BizCharts: {held} to {label}"
            lines = (f"The index left {held}.", *_state(reading, parameters))
            events.append(Event(CLASS, INDEX, f"{reading.bucket_start.isoformat()}|{label}", title, lines, at))
            held, last = label, at
    return events, held


def shifts(
    readings: Sequence[Reading], last: datetime | None, settings: AlertSettings, parameters: FearGreedSettings
) -> list[Event]:
    """Return as events to alert about the shifts by more than ``shift_points`` between two adjacent hours of
    ``readings``, the oldest first.

    Within ``shift_pause_hours`` of the last shift, at ``last``, there is none.
    """
    events: list[Event] = []
    pause = timedelta(hours=settings.shift_pause_hours)
    for before, after in pairwise(_valued(readings)):
        at, change = after.ended_at, _value(after) - _value(before)
        if after.bucket_start - before.bucket_start != HOUR or abs(change) <= settings.shift_points:
            continue
        if last is not None and at - last < pause:
            continue
        points = abs(round(_value(after)) - round(_value(before)))  # of the values as they are printed
        title = f"BizCharts: the index {'rose' if change > 0 else 'fell'} {points} points within an hour"
        lines = [f"Before, at {utc(before.ended_at)}: {_numbers(before)}", *_state(after, parameters)]
        if before.model_version != after.model_version:
            lines.append("The scoring model changed between the two hours; the mood may not have.")
        events.append(Event(SHIFT, INDEX, after.bucket_start.isoformat(), title, tuple(lines), at))
        last = at
    return events


def _valued(readings: Sequence[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.final and reading.value is not None]


def _value(reading: Reading) -> float:
    assert reading.value is not None
    return reading.value


def _has_left(label: str, value: float, margin: float) -> bool:
    place = LABELS.index(label)
    printed = round(value)
    if label_of(value) == label:
        return False
    return not CLASS_EDGES[place] - margin < printed < CLASS_EDGES[place + 1] + margin


def _state(reading: Reading, parameters: FearGreedSettings) -> list[str]:
    """Describe a reading: value, interval, class, rank, and what restricts it."""
    lines = [
        f"At {utc(reading.ended_at)}: {_numbers(reading)}",
        f"{class_in_words(reading)}: {place_in_words(reading)}",
    ]
    if reason := state_in_words(reading, parameters):
        lines.append(reason)
    return lines


def _numbers(reading: Reading) -> str:
    if reading.lo is None or reading.hi is None:
        return f"index {reading.value:.0f}"
    return f"index {reading.value:.0f} (90 % interval {reading.lo:.0f} to {reading.hi:.0f})"
