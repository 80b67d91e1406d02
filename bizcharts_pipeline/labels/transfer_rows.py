"""Labels as rows of a file: the columns, how their values are written, and what makes a row a label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast, get_args

from bizcharts_pipeline.clock import naive_utc
from bizcharts_pipeline.errors import BizchartsError
from bizcharts_pipeline.labels.ledger import Flag, Label, storable_text
from bizcharts_pipeline.sources.fields import SITE_OPENED

# The first ten are those of the original implementation's data set, and written as there.
COLUMNS = (
    "thread_id", "posted_at", "sentiment_rating", "labeler_id", "labeled_at", "subject", "text_snapshot",
    "image_url_snapshot", "notes", "skipped", "seconds", "flag", "origin", "session", "stratum", "probability",
    "suggestion",
)  # fmt: skip
REQUIRED = ("thread_id", "sentiment_rating", "labeler_id", "labeled_at")
_ALIASES = {"subject_snapshot": "subject"}  # as the column is called in `training_labels`
_FIELDS = {"subject": "subject_snapshot"}  # columns whose field of Label has another name

_BIGINT = 2**63 - 1
_NO_CLOCK_IS_THERE_YET = datetime(2100, 1, 1)
_YES_AND_NO = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}

Value = str | int | float | None


class LabelFileError(BizchartsError):
    """A file of labels cannot be read or written as a whole."""


class BadRow(Exception):
    """A row is no label; the message says why."""


@dataclass(frozen=True)
class RawRow:
    """A row as a file has it: where, as it stands there, and its values or why there are none."""

    line: int  # from 1: where the row begins
    text: str
    values: Mapping[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Rejected:
    """A row that was put aside."""

    line: int
    reason: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def values_of(label: Label) -> dict[str, Value]:
    """Return a label as the values of ``COLUMNS``, in their order; times as ISO 8601, UTC."""
    values: dict[str, Value] = {column: getattr(label, _FIELDS.get(column, column)) for column in COLUMNS}
    values["labeled_at"] = label.labeled_at.isoformat(timespec="microseconds")
    values["posted_at"] = label.posted_at.isoformat(sep=" ") if label.posted_at else None
    values["skipped"] = int(label.skipped)
    return values


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` under this program's column names."""
    return {_ALIASES.get(name, name): value for name, value in values.items()}


def rating_of(values: Mapping[str, Any]) -> int | None:
    """Return the whole number that a row has as its rating, on whatever scale; ``None`` if it has none."""
    try:
        return None if values.get("sentiment_rating") in (None, "") else _whole(values["sentiment_rating"], "")
    except BadRow:
        return None


def label_of(values: Mapping[str, Any], origin: str) -> Label:
    """Return the label that a row's ``values`` are; ``origin`` is for rows that name none.

    Raises:
        BadRow: it is none.
    """
    skipped = _skipped(values.get("skipped"))
    rating = values.get("sentiment_rating")
    rating = None if rating in (None, "") else _whole(rating, "sentiment_rating")
    if rating is None and not skipped:
        raise BadRow("neither rated nor skipped")
    if rating is not None and skipped:
        raise BadRow("both rated and skipped")
    if rating not in (None, 1, 2, 3):
        raise BadRow(f"sentiment_rating {rating!s:.40}, not 1 to 3")
    thread_id, labeler = values.get("thread_id"), values.get("labeler_id")
    if thread_id in (None, ""):
        raise BadRow("no thread_id")
    labeler_id = _text(str(labeler) if type(labeler) is int else labeler, "labeler_id")
    if not labeler_id:
        raise BadRow("no labeler_id")
    labeled_at = _time(values.get("labeled_at"), "labeled_at")
    if labeled_at is None:
        raise BadRow("no labeled_at")
    flag = _text(values.get("flag"), "flag") or None
    if flag not in (None, *get_args(Flag)):
        raise BadRow(f"flag {flag!r:.40}, not one of {', '.join(get_args(Flag))}")
    return Label(
        thread_id=_thread(thread_id),
        sentiment_rating=rating,
        labeler_id=labeler_id,
        labeled_at=labeled_at,
        seconds=_number(values.get("seconds"), "seconds", math.inf),
        skipped=skipped,
        notes=_text(values.get("notes"), "notes"),
        text_snapshot=_text(values.get("text_snapshot"), "text_snapshot"),
        image_url_snapshot=_text(values.get("image_url_snapshot"), "image_url_snapshot"),
        origin=_text(values.get("origin"), "origin") or storable_text(origin),
        posted_at=_time(values.get("posted_at"), "posted_at"),
        subject_snapshot=_text(values.get("subject"), "subject"),
        flag=cast(Flag | None, flag),
        session=_text(values.get("session"), "session"),
        stratum=_text(values.get("stratum"), "stratum"),
        probability=_number(values.get("probability"), "probability", 1),
        suggestion=_text(values.get("suggestion"), "suggestion"),
    )


def _thread(value: object) -> int:
    thread_id = _whole(value, "thread_id")
    if not 1 <= thread_id <= _BIGINT:
        raise BadRow(f"thread_id {thread_id!s:.40} is no thread's number")
    return thread_id


def _skipped(value: object) -> bool:
    answer = _YES_AND_NO.get("" if value is None else str(value).strip().lower())
    if answer is None:
        raise BadRow(f"skipped is {value!r:.40}, not 0 or 1")
    return answer


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value and storable_text(value)
    raise BadRow(f"{name} is {value!r:.40}, not text")


def _time(value: object, name: str) -> datetime | None:
    if value in (None, ""):
        return None
    try:
        moment = naive_utc(datetime.fromisoformat(cast(str, value)))
    except (TypeError, ValueError, OverflowError):
        raise BadRow(f"{name} {value!r:.40} is no ISO 8601 time") from None
    if not SITE_OPENED <= moment < _NO_CLOCK_IS_THERE_YET:
        raise BadRow(f"{name} {moment} is no time since the board's site opened")
    return moment


def _number(value: object, name: str, most: float) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(cast(str, value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and 0 <= number <= most):
        raise BadRow(f"{name} {value!r:.40} is no number from 0" + (f" to {most:g}" if math.isfinite(most) else " on"))
    return number


def _whole(value: object, name: str) -> int:
    """Read 3, '3' and 3.0, as spreadsheets and data frames write it."""
    try:
        if type(value) is int:
            return value
        if type(value) is str and value.strip().isdecimal():
            return int(value)
        number = math.nan if isinstance(value, bool) else float(cast(str, value))
        if number.is_integer():
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise BadRow(f"{name} {value!r:.40} is no whole number")
