"""Training curves as a small SVG image without a plotting library, for a run's metadata."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 110, 28, 24
COLOURS = ("#1b2631", "#c0392b", "#1e8449", "#2e86c1")
MAX_POINTS = 400

Points = Sequence[tuple[float, float]]  # step, value; by step


def svg_curve(lines: Mapping[str, Points], title: str, unit: str = "step") -> str:
    """Draw the curves of a training: up to four lines over the same steps and the same scale, each named at its last
    point.

    ``unit`` names the steps. Lines without points are left out. Long lines are thinned; their last point is kept.
    """
    drawn = {name: _thin(points) for name, points in lines.items() if points}
    points = [point for line in drawn.values() for point in line]
    first, last = (min(x for x, _ in points), max(x for x, _ in points)) if points else (0.0, 1.0)
    low, high = (min(y for _, y in points), max(y for _, y in points)) if points else (0.0, 1.0)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(point: tuple[float, float]) -> str:
        x = LEFT + (right - LEFT) * ((point[0] - first) / (last - first) if last > first else 0.5)
        y = bottom - (bottom - TOP) * ((point[1] - low) / (high - low) if high > low else 0.5)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="17" font-size="13">{escape(title)}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{unit} {first:.0f}</text>',
        f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{last:.0f}</text>',
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#bfc5c9"/>',
    ]
    for (name, line), colour in zip(drawn.items(), COLOURS, strict=False):
        end_x, end_y = place(line[-1]).split(",")
        places = " ".join(map(place, line))
        parts += [
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>',
            f'<circle cx="{end_x}" cy="{end_y}" r="2" fill="{colour}"/>',
            f'<text x="{float(end_x) + 6:.1f}" y="{float(end_y) + 4:.1f}" fill="{colour}">'
            f"{escape(name)} {line[-1][1]:.3g}</text>",
        ]
    return "\n".join([*parts, "</svg>"])


def _thin(points: Points) -> Points:
    step = -(-len(points) // MAX_POINTS) or 1
    return points[::-1][::step][::-1]
