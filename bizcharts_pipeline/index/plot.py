"""The index as a small SVG picture: no library, light enough for a minutely job's metadata."""

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from itertools import groupby, pairwise

from bizcharts_pipeline.index.readings import CALIBRATING, CLASS_EDGES, LABELS

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 34, 96, 28, 24
COLOURS = ("#c0392b", "#e59866", "#bfc5c9", "#7dcea0", "#1e8449")
MOST_POINTS = 200

PlotRow = tuple[datetime, float | None, float | None, float | None, str]  # moment, value, lo, hi, state


def svg_plot(rows: Sequence[PlotRow], title: str = "Fear/Greed on /biz/", most: int = MOST_POINTS) -> str:
    """Draw value and interval over time at about ``most`` points, the last one included.

    ``rows`` ascend by time. A row without a value leaves a gap; what is calibrating is dashed.
    """
    step = -(-len(rows) // most) or 1
    rows = rows[::-1][::step][::-1]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    begin, length = (rows[0][0], (rows[-1][0] - rows[0][0]).total_seconds()) if rows else (datetime.min, 0.0)

    def x(moment: datetime) -> float:
        return LEFT + (right - LEFT) * ((moment - begin).total_seconds() / length if length else 0.5)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * value / 100

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="17" font-size="13">{escape(title)}</text>',
    ]
    for (low, high), label, colour in zip(pairwise(CLASS_EDGES), LABELS, COLOURS, strict=True):
        parts.append(
            f'<rect x="{LEFT}" y="{y(high):.1f}" width="{right - LEFT}" height="{y(low) - y(high):.1f}" '
            f'fill="{colour}" fill-opacity=".22"/>'
            f'<text x="{right + 6}" y="{y((low + high) / 2) + 4:.1f}">{label}</text>'
            f'<text x="{LEFT - 6}" y="{y(low) + 4:.1f}" text-anchor="end">{low:.0f}</text>'
        )
    for (drawn, calibrating), run in groupby(rows, lambda r: (r[1] is not None, r[4] == CALIBRATING)):
        if drawn:
            parts += _line(list(run), x, y, ' stroke-dasharray="4 3"' if calibrating else "")
    for anchor, row in zip(("start", "end"), (rows[0], rows[-1]) if rows else (), strict=False):
        place = f'x="{x(row[0]):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}"'
        parts.append(f"<text {place}>{row[0]:%Y-%m-%d %H:%M}</text>")
    return "\n".join([*parts, "</svg>"])


def _line(
    run: Sequence[PlotRow], x: Callable[[datetime], float], y: Callable[[float], float], dashes: str
) -> list[str]:
    """The interval and the values of a stretch without gaps."""
    line, upper, lower = (
        [f"{x(row[0]):.1f},{y(row[column] or 0.0):.1f}" for row in run]  # type: ignore[arg-type]
        for column in (1, 3, 2)
    )
    band = " ".join(upper + lower[::-1])
    drawn = [
        f'<polygon points="{band}" fill="#34495e" fill-opacity=".18"/>',
        f'<polyline points="{" ".join(line)}" fill="none" stroke="#1b2631" stroke-width="1.6"{dashes}/>',
    ]
    if len(run) == 1:
        place = line[0].split(",")
        drawn.append(f'<circle cx="{place[0]}" cy="{place[1]}" r="2" fill="#1b2631"/>')
    return drawn
