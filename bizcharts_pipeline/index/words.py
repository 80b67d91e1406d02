"""Plain-language descriptions of a reading, shared by all displays."""

from collections.abc import Sequence

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.index.readings import CALIBRATING, FULL_COVERAGE, NO_READING, NORMAL, THIN, label_of
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.published import Reading

WHOLE_YEAR = 360  # minimum daily points for "the past year's days"


def in_words(reading: Reading, parameters: FearGreedSettings) -> str:
    """Describe a reading of the index: class, rank in the past and state, with the reason if there is one."""
    parts = [f"{class_in_words(reading)}: {place_in_words(reading)}"] if reading.value is not None else []
    if reason := state_in_words(reading, parameters):
        parts.append(reason)
    return "; ".join(parts)


def class_in_words(reading: Reading) -> str:
    """Return the class of an index's reading, marked "borderline" with the classes that the interval reaches; "-"
    without a class.
    """
    label = _label(reading)
    if label is None or reading.lo is None or reading.hi is None:
        return "-"
    return (
        f"{label}, borderline ({label_of(reading.lo)} to {label_of(reading.hi)})" if is_borderline(reading) else label
    )


def in_short(reading: Reading, *, mark: bool) -> str:
    """Return the class of an index's reading for a narrow column, with "~" if it is borderline and ``mark`` is set, and
    any state that is not normal.
    """
    parts = [_label(reading) or ""]
    if mark and is_borderline(reading):
        parts[0] += " ~"
    if reading.state != NORMAL:
        parts.append(reading.state)
    return ", ".join(filter(None, parts))


def marks_borderline(readings: Sequence[Reading]) -> bool:
    """Whether a table marks borderline ``readings`` of the index one by one. If most are, a note below it says so
    instead.
    """
    return 2 * sum(map(is_borderline, readings)) <= sum(reading.value is not None for reading in readings)


def notes(readings: Sequence[Reading], parameters: FearGreedSettings) -> list[str]:
    """Return notes that explain a table of the index's ``readings`` shown by :func:`in_short`, one per line."""
    valued = [reading for reading in readings if reading.value is not None]
    lines = []
    if valued:
        lines.append(f"index {valued[0].value:.0f}: the mood is {place_in_words(valued[0])}")
    if not all(reading.final for reading in readings):
        lines.append("*: not final, it still changes")
    if not marks_borderline(readings):
        share = f"{sum(map(is_borderline, valued))} of {len(valued)}"
        lines.append(f"{share} classes are borderline: the 90 % interval reaches another class")
    elif any(map(is_borderline, readings)):
        lines.append("~: borderline, the interval reaches another class")
    for reading in readings:
        if reason := state_in_words(reading, parameters):
            lines.append(f"{reading.bucket_start:%Y-%m-%d %H:%M} {reason}")
    return lines


def is_borderline(reading: Reading) -> bool:
    """Whether the interval of an index's reading crosses the edge of a class."""
    return reading.lo is not None and reading.hi is not None and label_of(reading.lo) != label_of(reading.hi)


def place_in_words(reading: Reading) -> str:
    """Describe the rank of the mood among the days of the index's history; "-" without a value."""
    if reading.value is None:
        return "-"
    days = reading.history_days
    past = (
        "its past days" if days is None else "the past year's days" if days >= WHOLE_YEAR else f"the past {days} days"
    )
    printed = round(reading.value)
    return f"lower than {100 - printed} % of {past}" if printed < 50 else f"higher than {printed} % of {past}"


def state_in_words(reading: Reading, parameters: FearGreedSettings) -> str:
    """Describe the state of an index's reading and its reason; empty if it is normal."""
    posts = (
        f"{counted(reading.n, 'post')} in {counted(parameters.window_hours, 'hour')}, "
        f"which count as {reading.n_eff:.0f}"
    )
    if reading.state == NO_READING:
        return f"no reading: {posts}; at least {parameters.no_reading_below:.0f} are needed"
    if reading.state == CALIBRATING:
        missing = days_missing(reading, parameters)
        return f"calibrating: no index yet, {missing} more day{'' if missing == 1 else 's'} of history needed"
    if reading.state != THIN:
        return ""
    if reading.n_eff < parameters.thin_below:
        return f"thin, read with caution: {posts}"
    share = reading.coverage if reading.coverage is not None else FULL_COVERAGE
    return f"thin, read with caution: only {share:.0%} of the hours were collected"


def _label(reading: Reading) -> str | None:
    return None if reading.value is None else reading.label or label_of(reading.value)


def days_missing(reading: Reading, parameters: FearGreedSettings) -> int:
    """Return the number of daily points missing until the index can be ranked."""
    return max(parameters.minimum_history_days - (reading.history_days or 0), 0)
