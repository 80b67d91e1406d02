"""The gauge: the index on its scale, with its interval, as an SVG image."""

import math
from itertools import pairwise

from bizcharts_pipeline.app.theme import DASH, Palette, index_value
from bizcharts_pipeline.index.readings import CLASS_EDGES
from bizcharts_pipeline.warehouse.published import Reading

WIDTH, HEIGHT = 360, 216
CENTRE = (WIDTH / 2, 180.0)
RADIUS, THICKNESS = 136.0, 26.0
INTERVAL_RADIUS = RADIUS + 24


def svg_gauge(reading: Reading | None, palette: Palette) -> str:
    """Draw the app's gauge of the index for ``reading``; without a value, the scale alone with a dash for the
    figure."""
    value = reading.value if reading else None
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'fill="{palette.text}">',
        *(
            _arc(low + 0.4, high - 0.4, RADIUS, THICKNESS, colour)
            for (low, high), colour in zip(pairwise(CLASS_EDGES), palette.classes, strict=True)
        ),
        *(_edge(edge, palette) for edge in CLASS_EDGES),
    ]
    if reading and value is not None:
        if reading.lo is not None and reading.hi is not None:
            low, high = max(reading.lo, 0.0), min(max(reading.hi, reading.lo + 1), 100.0)
            drawn.append(_arc(low, high, INTERVAL_RADIUS, 6, palette.text))
        drawn.append(_needle(value, palette))
    figure = index_value(value) if value is not None else DASH
    drawn.append(f'<text x="{CENTRE[0]}" y="{CENTRE[1] - 22}" font-size="58" text-anchor="middle">{figure}</text>')
    return "".join([*drawn, "</svg>"])


def _point(value: float, radius: float) -> tuple[float, float]:
    """The place of an index value: 0 at the left end of the half circle, 100 at the right."""
    angle = math.pi * (1 - value / 100)
    return CENTRE[0] + radius * math.cos(angle), CENTRE[1] - radius * math.sin(angle)


def _arc(low: float, high: float, radius: float, thickness: float, colour: str) -> str:
    (x1, y1), (x2, y2) = _point(low, radius), _point(high, radius)
    return (
        f'<path d="M{x1:.1f} {y1:.1f}A{radius} {radius} 0 0 1 {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="{colour}" stroke-width="{thickness}"/>'
    )


def _edge(value: float, palette: Palette) -> str:
    x, y = _point(value, RADIUS - THICKNESS)
    place = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle"'
    return f'<text {place} font-size="12" fill="{palette.muted}">{value:.0f}</text>'


def _needle(value: float, palette: Palette) -> str:
    (x1, y1), (x2, y2) = _point(value, RADIUS - THICKNESS / 2 - 4), _point(value, RADIUS + THICKNESS / 2 + 4)
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{palette.text}" stroke-width="5" '
        'stroke-linecap="round"/>'
    )
