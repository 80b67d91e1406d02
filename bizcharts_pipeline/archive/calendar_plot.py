"""Coverage calendar as a small SVG: one row of weeks per year, one square per day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from itertools import groupby

from bizcharts_pipeline.warehouse.coverage import HOURS, DayCoverage

CELL, STEP = 10, 12
LEFT, TOP = 40, 48
MONTH_HEIGHT = 14
YEAR_HEIGHT = MONTH_HEIGHT + 7 * STEP + 8
WEEKS = 54  # maximum, in a leap year that begins on a Sunday
WIDTH = LEFT + WEEKS * STEP + 8
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

LEGEND = ("archive and live", "archive complete", "live, all 24 hours", "a part", "nothing")
BOTH, ARCHIVE, LIVE, PARTLY, NOTHING = range(len(LEGEND))


@dataclass(frozen=True)
class Colours:
    """Colours of the calendar: ``squares`` by coverage, in the order of the legend, also distinguishable by
    lightness."""

    paper: str
    text: str
    muted: str
    squares: tuple[str, str, str, str, str]


ON_WHITE = Colours("#fff", "#000", "#666", ("#14532d", "#2e9e5b", "#2b6cb0", "#f2b84b", "#e3e6e8"))
ON_DARK = Colours("#10151c", "#e8edf2", "#9aa8b6", ("#b5f0cd", "#2e9e5b", "#4a90d9", "#f2b84b", "#2c3743"))


def svg_calendar(days: Sequence[DayCoverage], title: str = "Days of /biz/ (UTC)", colours: Colours = ON_WHITE) -> str:
    """Draw the calendar of archived and live ``days``, which ascend; weeks are columns starting on Monday, the newest
    year comes first.

    Each square has a tooltip with its figures.
    """
    years = [(year, list(found)) for year, found in groupby(days, lambda day: day.day.year)][::-1]
    height = TOP + max(len(years), 1) * YEAR_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="10" fill="{colours.text}">',
        f'<rect width="{WIDTH}" height="{height}" fill="{colours.paper}"/>',
        f'<text x="{LEFT}" y="17" font-size="13">{escape(title)}</text>',
        *_legend(colours),
    ]
    if not days:
        parts.append(f'<text x="{LEFT}" y="{TOP + 20}">No days yet.</text>')
    for row, (year, of_year) in enumerate(years):
        parts += _year(year, of_year, TOP + row * YEAR_HEIGHT, colours)
    return "\n".join([*parts, "</svg>"])


def kind(day: DayCoverage) -> int:
    """Return the coverage of a day in the calendar of archived and live days: its place in :data:`LEGEND`."""
    if day.archive == "complete":
        return BOTH if day.polled else ARCHIVE
    if day.polled:
        return LIVE
    return PARTLY if day.live_posts or day.archive_posts or day.hours_polled else NOTHING


def _legend(colours: Colours) -> list[str]:
    parts, x = [], LEFT
    for fill, label in zip(colours.squares, LEGEND, strict=True):
        parts.append(
            f'<rect x="{x}" y="27" width="{CELL}" height="{CELL}" fill="{fill}"/>'
            f'<text x="{x + STEP + 2}" y="36">{label}</text>'
        )
        x += STEP + 14 + 6 * len(label)
    return parts


def _year(year: int, days: Sequence[DayCoverage], top: int, colours: Colours) -> list[str]:
    bottom = top + MONTH_HEIGHT
    parts = [f'<text x="{LEFT - 6}" y="{bottom + 9}" text-anchor="end" font-weight="bold">{year}</text>']
    for month, name in enumerate(MONTHS, start=1):
        x = LEFT + _week(date(year, month, 1)) * STEP
        parts.append(f'<text x="{x}" y="{bottom - 4}" fill="{colours.muted}">{name}</text>')
    for day in days:
        x, y = LEFT + _week(day.day) * STEP, bottom + day.day.weekday() * STEP
        parts.append(
            f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{colours.squares[kind(day)]}">'
            f"<title>{escape(describe(day))}</title></rect>"
        )
    return parts


def _week(day: date) -> int:
    """Index of the week in its year, from 0; weeks begin on Monday, and the first may be short."""
    first = date(day.year, 1, 1)
    return ((day - first).days + first.weekday()) // 7


def describe(day: DayCoverage) -> str:
    """Return one line with the figures of a day in the calendar of archived and live days."""
    reason = f" ({day.reason})" if day.reason else ""
    so_far = "" if day.over else " so far"
    return (
        f"{day.day}{so_far}: {day.live_posts:,} live, {day.archive_posts:,} only from the archive; "
        f"{day.hours_polled} of {HOURS} hours polled; archive {day.archive}{reason}"
    )
