"""Rating scales of label files: their meaning, and detection of foreign scales.

Ratings here are 1 bearish, 2 neutral, 3 bullish, or these three words. The same numbers mean something else on the
scales 0 to 2, 1 to 5 or 1 to 10, so a file with other ratings is refused completely, unless its scale is given.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.stances import RATINGS, STANCES
from bizcharts_pipeline.text.cleaning import clean_text

MIN_RATINGS_TO_ASK = 10  # minimum ratings for refusing a file that uses 2 and only one end of the scale
MIN_RATINGS_TO_NOTE = 3
MIN_OPPOSITE = 10  # minimum posts rated opposite to the ledger for suspecting a reversed scale
_OPPOSITE_TO_SAME = 3  # and their minimum ratio to posts rated the same
_SHOWN = 5
_MISSING = {"", "nan", "na", "n/a", "null", "none"}  # spellings of a missing rating
_EXPLICIT = re.compile(r"[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*")
_CLASSES = {str(name): rating for name, rating in RATINGS.items()} | {"1": 1, "2": 2, "3": 3}
# One part of an explicit scale. The rating may begin with "=" and contain ",", as the formula =1 or the decimal 1,5.
_MEANING = re.compile(rf"(.+?)=\s*({'|'.join(_CLASSES)})\s*(?:,|\Z)", re.IGNORECASE)
_MISTYPED = re.compile(r"^,|,$|.=")  # two parts in one: a comma too many, another separator, an unknown meaning
_DASH = re.compile(r"\s*-\s*(?=[\d.,i])")  # an em dash stands between blanks in a cleaned text
_AT_MOST_ZERO = re.compile(
    r"""[='"\s]*(?:0+(?:[.,]0*)?\s?%?|-\s?(?:[\d.,]+|inf\w*)\s?%?|\([\d.,]+\)|[\d.,]+-)['"\s]*"""
)


class ScaleError(BizchartsError):
    """A scale is invalid, or a file's ratings are not on it."""


@dataclass(frozen=True)
class Scale:
    """Meaning of the ratings in a file. ``classes`` maps a rating in :func:`canonical` form to 1, 2 or 3."""

    name: str
    classes: Mapping[str, int]


def _scale(name: str, bearish: Iterable[int], neutral: Iterable[int], bullish: Iterable[int]) -> Scale:
    numbers = zip((bearish, neutral, bullish), RATINGS.values(), strict=True)
    return Scale(name, {str(number): rating for each, rating in numbers for number in each} | RATINGS)


OURS = _scale("1-3", [1], [2], [3])
SCALES = {
    scale.name: scale
    for scale in (
        OURS,
        _scale("0-2", [0], [1], [2]),
        _scale("-1-1", [-1], [0], [1]),
        _scale("1-5", [1, 2], [3], [4, 5]),
        _scale("1-10", [1, 2, 3, 4], [5, 6], [7, 8, 9, 10]),
    )
}
NO_MIDDLE = (
    "1-4 has no middle, so it has no neutral: give the meaning of each rating, for example "
    "1=bearish,2=neutral,3=neutral,4=bullish, or 1=bearish,2=bearish,3=bullish,4=bullish"
)


def parse_scale(text: str) -> Scale:
    """Parse the scale of a label file's ratings: one of ``SCALES``, or the meaning of each rating, such as
    ``0=bearish,1=bullish``.

    Raises:
        ScaleError: it is neither; the message lists what is allowed.
    """
    name = text.strip()
    if name in SCALES:
        return SCALES[name]
    if name == "1-4":
        raise ScaleError(f"{NO_MIDDLE}.")
    parts = [match.groups() for match in _MEANING.finditer(name)]
    if "".join(match[0] for match in _MEANING.finditer(name)) != name:
        parts = [tuple(each.split("=")) for each in name.split(",")] if _EXPLICIT.fullmatch(name) else []
    if not parts:
        raise ScaleError(
            f"{name!r:.60} is not one of {', '.join(SCALES)}, nor the meaning of each rating, such as "
            "0=bearish,1=neutral,2=bullish."
        )
    classes: dict[str, int] = {}
    for part in parts:
        rating, meaning = (text.strip() for text in part)
        key = canonical(rating)
        if key is None or meaning.lower() not in _CLASSES or _MISTYPED.search(rating):
            raise ScaleError(
                f"{'='.join(part).strip()!r:.60}: write RATING=MEANING, separated by commas; a meaning is one of "
                f"{', '.join(STANCES)}."
            )
        if key in classes:
            raise ScaleError(f"the rating {rating!r:.40} is given twice.")
        classes[key] = _CLASSES[meaning.lower()]
    return Scale(name, classes)


def canonical(value: object) -> str | None:
    """Return a label's rating in canonical form: 3, '3.0', ' ３ ' and '3e0' become '3', 'Bullish' becomes 'bullish'.

    ``None`` if there is no rating.
    """
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    text = _DASH.sub("-", clean_text(str(value))).strip().casefold()
    if text in _MISSING:
        return None
    number = _number(text)
    if number is None:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def check_ratings(ratings: Iterable[tuple[int, str]], scale: Scale | None, where: str) -> None:
    """Refuse ratings of a label file that are not on ``scale``, by default ours.

    One stray value may be a slip, and only its row is rejected. Several, or any that is 0 or negative, indicate another
    scale.

    Args:
        ratings: line and rating, in :func:`canonical` form, of every rated row.
        where: unit of a line in messages: ``line`` or ``row``.

    Raises:
        ScaleError: they are on another scale. The message names the ratings, and how to map them.
    """
    every = list(ratings)
    classes = (scale or OURS).classes
    foreign = [(line, rating) for line, rating in every if rating not in classes]
    if len(foreign) < 2 and not any(_is_at_most_zero(rating) for _, rating in foreign):
        return
    counts = Counter(rating for _, rating in foreign)
    first = {rating: line for line, rating in reversed(foreign)}
    seen = [
        f"{rating:.40} ({counts[rating]} of {len(every)}, first in {where} {first[rating]})"
        for rating in sorted(first, key=lambda rating: (first[rating], rating))
    ]
    shown = ", ".join(seen[:_SHOWN]) + (f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else "")
    if scale:
        raise ScaleError(f"its ratings are not on the scale {scale.name}: it has {shown}; nothing was imported.")
    raise ScaleError(
        f"its ratings are on another scale than 1 bearish, 2 neutral, 3 bullish: it has {shown}; nothing was imported. "
        f"{_mapping_hint({rating for _, rating in every})}"
    )


def missing_end(ratings: Iterable[str]) -> str | None:
    """Return which end of the scale never occurs in a label file of numbers, which may then be on another one; or
    ``None``.

    Words are unambiguous, and a few ratings are no evidence.
    """
    every = list(ratings)
    absent = [end for end in ("1", "3") if end not in every]
    if len(every) < MIN_RATINGS_TO_NOTE or not absent or any(rating in RATINGS for rating in every):
        return None
    return f"none of its {len(every)} ratings is {' or '.join(absent)}"


def is_reversed(opposite: int, same: int) -> bool:
    """Whether a label file with so many opposite and equal ratings of the ledger's posts probably uses 3 for
    bearish.
    """
    return opposite >= MIN_OPPOSITE and opposite > _OPPOSITE_TO_SAME * same


def meanings(seen: set[str]) -> str:
    """Return the beginning of an explicit scale for a label file's ratings ``seen``, to be completed: ``1=…,2=…``."""
    written = [rating for rating in seen if not rating.startswith(("[", "{"))] or ["RATING"]
    each = sorted(written, key=lambda rating: (_number(rating) or 0.0, rating))
    return ",".join(f"{rating:.20}=…" for rating in each[:3]) + (",…" if len(each) > 3 else "")


def _mapping_hint(seen: set[str]) -> str:
    numbers = [number for rating in seen if (number := _number(rating)) is not None]
    low, high = (min(numbers), max(numbers)) if numbers else (math.nan, math.nan)
    if len(numbers) == len(seen) and (low, high) == (1, 4):
        return f"Give its scale with `--scale`. {NO_MIDDLE}."
    fits = [
        f"`--scale {name}`"
        for name, scale in SCALES.items()
        if scale is not OURS and seen <= scale.classes.keys() and len(numbers) == len(seen)
    ]
    if fits:
        return (
            f"Give its scale if it is {' or '.join(fits)}; else the meaning of each rating: `--scale {meanings(seen)}`."
        )
    return f"Give the meaning of each rating (bearish, neutral or bullish): `--scale {meanings(seen)}`."


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None  # Python reads "0_3" as 3


def _is_at_most_zero(rating: str) -> bool:
    """Whether a rating is 0 or negative, also if it is written as no number: '0,0', '-0,5', '(1)', '1-', '="0"'."""
    number = _number(rating)
    return number <= 0 if number is not None else bool(_AT_MOST_ZERO.fullmatch(rating))
