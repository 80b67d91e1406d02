"""The index as a small SVG image without a plotting library, for the metadata of a job that runs every minute."""

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from itertools import groupby, pairwise

from bizcharts_pipeline.index.readings import CLASS_EDGES, LABELS
from bizcharts_pipeline.warehouse.published import Reading

WIDTH, HEIGHT = 760, 276
LEFT, RIGHT, TOP, BOTTOM = 40, 96, 44, 24
COLOURS = ("#c0392b", "#e59866", "#bfc5c9", "#7dcea0", "#1e8449")
MAX_POINTS = 200
MIN_STANCE = 0.1  # minimum reach of the stance's axis from 0

Point = tuple[datetime, float | None, float | None, float | None]  # moment, value, lo, hi


def svg_plot(
    readings: Sequence[Reading], title: str = "Fear/Greed on /biz/", caption: str = "", most: int = MAX_POINTS
) -> str:
    """Draw the index with its interval over time at about ``most`` points, the last one included.

    ``readings`` ascend by time. One without a value leaves a gap. If none has a value, for example while the index is
    calibrating, the stance is drawn instead, on an axis that differs visibly from the index's.
    """
    step = -(-len(readings) // most) or 1
    readings = readings[::-1][::step][::-1]
    ranked = any(reading.value is not None for reading in readings) or not readings
    points: list[Point] = [
        (r.bucket_start, r.value, r.lo, r.hi) if ranked else (r.bucket_start, r.stance, r.stance_lo, r.stance_hi)
        for r in readings
    ]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    begin, length = (points[0][0], (points[-1][0] - points[0][0]).total_seconds()) if points else (datetime.min, 0.0)
    reach = max([MIN_STANCE, *(abs(edge) for point in points for edge in point[2:] if edge is not None)])
    low, high = (0.0, 100.0) if ranked else (-reach, reach)

    def x(moment: datetime) -> float:
        return LEFT + (right - LEFT) * ((moment - begin).total_seconds() / length if length else 0.5)

    def y(figure: float) -> float:
        return bottom - (bottom - TOP) * (figure - low) / (high - low)

    heading = title if ranked else f"{title}: stance, no index yet"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="17" font-size="13">{escape(heading)}</text>',
        f'<text x="{LEFT}" y="34">{escape(caption)}</text>',
        *(_class_bands(right, y) if ranked else _stance_axis(right, reach, y)),
    ]
    for drawn, run in groupby(points, lambda point: point[1] is not None):
        if drawn:
            parts += _line(list(run), x, y)
    for anchor, point in zip(("start", "end"), (points[0], points[-1]) if points else (), strict=False):
        place = f'x="{x(point[0]):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}"'
        parts.append(f"<text {place}>{point[0]:%Y-%m-%d %H:%M}</text>")
    return "\n".join([*parts, "</svg>"])


def _class_bands(right: float, y: Callable[[float], float]) -> list[str]:
    """A band for each class with its name, and its lower edge."""
    return [
        f'<rect x="{LEFT}" y="{y(high):.1f}" width="{right - LEFT}" height="{y(low) - y(high):.1f}" '
        f'fill="{colour}" fill-opacity=".22"/>'
        f'<text x="{right + 6}" y="{y((low + high) / 2) + 4:.1f}">{label}</text>'
        f'<text x="{LEFT - 6}" y="{y(low) + 4:.1f}" text-anchor="end">{low:.0f}</text>'
        for (low, high), label, colour in zip(pairwise(CLASS_EDGES), LABELS, COLOURS, strict=True)
    ]


def _stance_axis(right: float, reach: float, y: Callable[[float], float]) -> list[str]:
    """Lines at both ends and at 0, with labels for the ends."""
    words = {reach: "bullish", 0.0: "", -reach: "bearish"}
    return [
        f'<line x1="{LEFT}" x2="{right}" y1="{y(stance):.1f}" y2="{y(stance):.1f}" stroke="#bfc5c9"/>'
        f'<text x="{LEFT - 6}" y="{y(stance) + 4:.1f}" text-anchor="end">{stance:+.2f}</text>'
        f'<text x="{right + 6}" y="{y(stance) + 4:.1f}">{word}</text>'
        for stance, word in words.items()
    ]


def _line(run: Sequence[Point], x: Callable[[datetime], float], y: Callable[[float], float]) -> list[str]:
    """The interval and the values of a range without gaps."""
    line, upper, lower = (
        [f"{x(point[0]):.1f},{y(point[column] or 0.0):.1f}" for point in run]  # type: ignore[arg-type]
        for column in (1, 3, 2)
    )
    band = " ".join(upper + lower[::-1])
    drawn = [
        f'<polygon points="{band}" fill="#34495e" fill-opacity=".18"/>',
        f'<polyline points="{" ".join(line)}" fill="none" stroke="#1b2631" stroke-width="1.6"/>',
    ]
    if len(run) == 1:
        place = line[0].split(",")
        drawn.append(f'<circle cx="{place[0]}" cy="{place[1]}" r="2" fill="#1b2631"/>')
    return drawn
