"""Rows of label files: columns, value formats, and validation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast, get_args

from bizcharts_pipeline.core.clock import naive_utc
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.http.fields import SITE_OPENED, undirected, whole_number
from bizcharts_pipeline.labels.labellers import labeller_name, visible
from bizcharts_pipeline.labels.ledger import Flag, Label, storable_text
from bizcharts_pipeline.labels.scales import OURS, Scale, canonical
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.warehouse.label_queue import Stratum

# The first ten are those of the original implementation's data set, in the same format.
COLUMNS = (
    "thread_id", "posted_at", "sentiment_rating", "labeler_id", "labeled_at", "subject", "text_snapshot",
    "image_url_snapshot", "notes", "skipped", "seconds", "flag", "origin", "session", "stratum", "probability",
    "suggestion", "image_visible",
)  # fmt: skip
REQUIRED = ("thread_id", "sentiment_rating", "labeler_id", "labeled_at")
ALIASES = {"subject_snapshot": "subject"}  # name of the column in `training_labels`
_KNOWN = {*COLUMNS, *ALIASES}
_FIELDS = {"subject": "subject_snapshot"}  # columns with another field name in Label

_STRATA = (*get_args(Stratum), "shared", "filter")  # of the queue, and of the labeller itself
_BIGINT = 2**63 - 1
_MAX_TIME = datetime(2100, 1, 1)
_YES_AND_NO = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}

Value = str | int | float | None


class LabelFileError(BizchartsError):
    """A label file cannot be read or written."""


class BadRow(Exception):
    """A row is not a valid label; the message is the reason."""


@dataclass(frozen=True)
class RawRow:
    """A row of a file: line, text, and either its values or its problem."""

    line: int  # first line of the row, from 1
    text: str
    values: Mapping[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Rejected:
    """An invalid row."""

    line: int
    reason: str
    text: str
    where: str = "line"  # unit of ``line``

    def __str__(self) -> str:
        return f"{self.where} {self.line}: {self.reason}"


def values_of(label: Label) -> dict[str, Value]:
    """Return a label's values as a label file has them, in the order of ``COLUMNS``; times as ISO 8601, UTC."""
    values: dict[str, Value] = {column: getattr(label, _FIELDS.get(column, column)) for column in COLUMNS}
    values["labeled_at"] = label.labeled_at.isoformat(timespec="microseconds")
    values["posted_at"] = label.posted_at.isoformat(sep=" ") if label.posted_at else None
    values["skipped"] = int(label.skipped)
    values["image_visible"] = None if label.image_visible is None else int(label.image_visible)
    return values


def column_name(written: str) -> str:
    """Return the name of a label file's column as this program spells it: without blanks around it and invisible
    characters in it.

    The case of an unknown column stays.
    """
    name = visible(written)
    lower = name.lower()
    return ALIASES.get(lower, lower) if lower in _KNOWN else name


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a label file's ``values`` under this program's column names."""
    return {column_name(name): value for name, value in values.items()}


def is_skipped(values: Mapping[str, Any]) -> bool:
    """Return whether a row of a label file is marked as skipped.

    Raises:
        BadRow: the mark is neither yes nor no.
    """
    return bool(_yes_or_no(values.get("skipped"), "skipped"))


def label_of(values: Mapping[str, Any], origin: str, scale: Scale) -> Label:
    """Return the label in the ``values`` of a label file's row; ``origin`` is the default origin, ``scale`` that of its
    rating.

    Raises:
        BadRow: the row is not a valid label.
    """
    skipped = is_skipped(values)
    written = canonical(values.get("sentiment_rating"))
    if skipped and written == "0":  # as written by programs without empty cells
        written = None
    if written is None and not skipped:
        raise BadRow("neither rated nor skipped")
    if written is not None and skipped:
        raise BadRow("both rated and skipped")
    if written is not None and written not in scale.classes:
        raise BadRow(f"sentiment_rating {written:.40}, not {_allowed(scale)}")
    rating = None if written is None else scale.classes[written]
    thread_id, labeler = values.get("thread_id"), values.get("labeler_id")
    if thread_id in (None, ""):
        raise BadRow("no thread_id")
    labeler_id = labeller_name(_text(str(labeler) if type(labeler) is int else labeler, "labeler_id") or "")
    if not labeler_id:
        raise BadRow("no labeler_id")
    labeled_at = _time(values.get("labeled_at"), "labeled_at")
    if labeled_at is None:
        raise BadRow("no labeled_at")
    return Label(
        thread_id=_thread(thread_id),
        sentiment_rating=rating,
        labeler_id=labeler_id,
        labeled_at=labeled_at,
        seconds=_number(values.get("seconds"), "seconds", math.inf),
        skipped=skipped,
        notes=_plain(values.get("notes"), "notes"),
        text_snapshot=_text(values.get("text_snapshot"), "text_snapshot"),
        image_url_snapshot=_text(values.get("image_url_snapshot"), "image_url_snapshot"),
        origin=_plain(values.get("origin"), "origin") or undirected(storable_text(origin)),
        posted_at=_time(values.get("posted_at"), "posted_at"),
        subject_snapshot=_text(values.get("subject"), "subject"),
        flag=cast(Flag | None, _one_of(values.get("flag"), "flag", get_args(Flag))),
        session=_plain(values.get("session"), "session"),
        stratum=_one_of(values.get("stratum"), "stratum", _STRATA),
        probability=_number(values.get("probability"), "probability", 1),
        suggestion=_one_of(values.get("suggestion"), "suggestion", STANCES),
        image_visible=_yes_or_no(values.get("image_visible"), "image_visible"),
    )


def _allowed(scale: Scale) -> str:
    return "1 to 3" if scale is OURS else f"on the scale {scale.name}"


def _thread(value: object) -> int:
    try:
        thread_id = whole_number(value)
    except ValueError as error:
        raise BadRow(f"thread_id {value!r:.40} {error}") from None
    if not 1 <= thread_id <= _BIGINT:
        raise BadRow(f"thread_id {thread_id!s:.40} is not a thread number")
    return thread_id


def _yes_or_no(value: object, name: str) -> bool | None:
    text = "" if value is None else str(value).strip().lower()
    if not text:
        return None
    if text not in _YES_AND_NO:
        raise BadRow(f"{name} is {value!r:.40}, not 0 or 1")
    return _YES_AND_NO[text]


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value and storable_text(value)
    raise BadRow(f"{name} is {value!r:.40}, not text")


def _plain(value: object, name: str) -> str | None:
    """Return a text without the characters that control a terminal or the direction of writing."""
    text = _text(value, name)
    return text and undirected(text)


def _one_of(value: object, name: str, allowed: Sequence[str]) -> str | None:
    text = (_text(value, name) or "").strip().lower()
    if text and text not in allowed:
        raise BadRow(f"{name} {text!r:.40}, not one of {', '.join(allowed)}")
    return text or None


def _time(value: object, name: str) -> datetime | None:
    value = value.strip() if isinstance(value, str) else value
    if value in (None, ""):
        return None
    try:
        moment = naive_utc(datetime.fromisoformat(cast(str, value)))
    except (TypeError, ValueError, OverflowError):
        raise BadRow(f"{name} {value!r:.40} is not an ISO 8601 time") from None
    if not SITE_OPENED <= moment < _MAX_TIME:
        raise BadRow(f"{name} {moment} is before the site opened or after 2100")
    return moment


def _number(value: object, name: str, most: float) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(cast(str, value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and 0 <= number <= most):
        raise BadRow(
            f"{name} {value!r:.40} is not a number from 0" + (f" to {most:g}" if math.isfinite(most) else " on")
        )
    return number
