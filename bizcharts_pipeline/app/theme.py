"""Colours and number formats of every page, light and dark.

The classes run from orange (fear) to blue (greed), which people with any of the common colour-vision deficiencies tell
apart; each is also named in words. Contrast of text to background is at least 4.5 to 1, in captions too, which
Streamlit draws with 60 % of the text's colour (so they hold no link and no code).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

DASH = "–"  # where there is no figure
MINUS = "−"

# Options of Streamlit's theme; the others have Streamlit's defaults.
STREAMLIT_THEME = {
    "theme.headingFontSizes": ["2.5rem", "1.6rem", "1.3rem", "1.1rem", "1rem", "1rem"],
    "theme.paddingTop": "1rem",
    "theme.paddingBottom": "2rem",
    "theme.light.primaryColor": "#0b5cad",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f3f5f8",
    "theme.light.textColor": "#0b1118",
    "theme.light.linkColor": "#0b5cad",
    "theme.dark.primaryColor": "#6cb4ff",
    "theme.dark.backgroundColor": "#10151c",
    "theme.dark.secondaryBackgroundColor": "#1a222d",
    "theme.dark.textColor": "#e8edf2",
    "theme.dark.linkColor": "#6cb4ff",
}


@dataclass(frozen=True)
class Palette:
    """The colours of a chart. ``classes`` are those of the five classes, from extreme fear to extreme greed."""

    background: str
    text: str
    muted: str
    grid: str
    line: str
    price: str
    marker: str
    classes: tuple[str, str, str, str, str]


LIGHT = Palette(
    background="#ffffff",
    text="#1b2631",
    muted="#5a6775",
    grid="#d9dfe6",
    line="#1b2631",
    price="#7a3e9d",
    marker="#8a5a00",
    classes=("#c2570c", "#f0a868", "#b8c0c8", "#7fb2e0", "#1f6fb5"),
)
DARK = Palette(
    background="#10151c",
    text="#e8edf2",
    muted="#9aa8b6",
    grid="#2c3743",
    line="#f2f5f8",
    price="#cf9bea",
    marker="#f0c35a",
    classes=("#e8792f", "#b9743c", "#66717d", "#4d86b8", "#4ea3ee"),
)


def palette(theme: str | None) -> Palette:
    """Return the app's colours for ``theme``, as the browser names it ('light' or 'dark'; ``None``: not known yet)."""
    return DARK if theme == "dark" else LIGHT


def index_value(value: float | None) -> str:
    """Return an index value, 0 to 100, as the app's pages write it: a whole number."""
    return DASH if value is None else f"{value:.0f}"


def stance(value: float | None) -> str:
    """Return a stance, -1 to 1, as the app's pages write it: with its sign, such as +0.14."""
    return DASH if value is None else f"{value:+z.2f}".replace("-", MINUS)


def cell(value: float | None) -> float | None:
    """Return a stance or a change for a column of a table in the app, with two decimals; it has no negative zero."""
    return None if value is None else round(value, 2) + 0.0


def change(value: float | None, digits: int = 0) -> str:
    """Return a difference as the app's pages write it, with its sign."""
    return DASH if value is None else f"{value:+z.{digits}f}".replace("-", MINUS)


def share(value: float | None) -> str:
    """Return a share, 0 to 1, as the app's pages write it, in per cent."""
    return DASH if value is None else f"{100 * value:.0f} %"


def interval(low: str, high: str) -> str:
    """Return an interval as the app's pages write it, from two figures that are already in words."""
    return DASH if DASH in (low, high) else f"{low} to {high}"


def usd(value: float | Decimal | None) -> str:
    """Return a price in USD as the app's pages write it, with as many decimals as its size asks for."""
    if value is None:
        return DASH
    number = float(value)
    return f"${number:,.0f}" if number >= 1000 else f"${number:,.2f}" if number >= 1 else f"${number:.4g}"


def megabytes(count: int) -> str:
    """Return a number of bytes as the app's pages write it, in MB."""
    return f"{count / 1e6:,.1f} MB"


def moment(at: datetime | None, zone: str | None = None) -> str:
    """Return a naive UTC time as the app's pages write it, followed by that of the viewer's ``zone`` where it is
    another one."""
    if at is None:
        return DASH
    said = f"{at:%Y-%m-%d %H:%M} UTC"
    local = at.replace(tzinfo=UTC).astimezone(_zone(zone)) if zone else None
    if local is None or local.utcoffset() == timedelta(0):
        return said
    day = f"{local:%Y-%m-%d} " if local.date() != at.date() else ""
    return f"{said} ({day}{local:%H:%M} {zone})"


def _zone(name: str | None) -> ZoneInfo:
    """The zone that a browser names; one that is not known here counts as UTC."""
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")
