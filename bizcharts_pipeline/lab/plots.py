"""Small SVG plots of a report, without a plotting library, a script or a style sheet."""

from collections.abc import Sequence
from html import escape

from bizcharts_pipeline.lab.events import EventStudy
from bizcharts_pipeline.lab.leadlag import LeadLag

WIDTH, HEIGHT = 640, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 34
LINE, BAND, GRID = "#1b2631", "#34495e", "#bfc5c9"
MOOD, PRICE = "#1f6fb5", "#c2570c"
CRITICAL_T = 1.96  # two-sided 5 %, one test alone


def lags_plot(forward: LeadLag, reverse: LeadLag) -> str:
    """Draw for the backtest's report the t-value of each lag: on the left price to mood, on the right mood to price."""
    bars = [(-test.lag, test.t, PRICE) for test in reversed(reverse.by_lag)]
    bars += [(test.lag, test.t, MOOD) for test in forward.by_lag]
    reach = 1.1 * max(CRITICAL_T + 1, *(abs(t) for _, t, _ in bars))
    plot = _Plot((bars[0][0] - 0.6, bars[-1][0] + 0.6), (-reach, reach))
    parts = [
        plot.text(LEFT, 18, "t-value of each lag in days; left: the price leads, right: the mood leads"),
        *(plot.level(t, f"{t:+.1f}", dashed=True) for t in (-CRITICAL_T, CRITICAL_T)),
        plot.level(0, "0"),
    ]
    for lag, t, colour in bars:
        top, bottom = sorted((plot.y(t), plot.y(0)))
        left, right = plot.x(lag - 0.35), plot.x(lag + 0.35)
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'fill="{colour}"/>'
        )
        parts.append(plot.text(plot.x(lag), HEIGHT - 12, f"{abs(lag)} d", "middle"))
    return _svg(parts, "t-values of the lags in both directions")


def event_plot(event: EventStudy) -> str:
    """Draw for the backtest's report the mean return around the events, relative to the event's day, with the band of
    the placebos."""
    zero = (0, 0.0, 0.0, 0.0)
    measured = [(each.days, 100 * each.mean, 100 * each.lo, 100 * each.hi) for each in event.path]
    # Before the event, the price was lower by what it gained until then.
    points = sorted([*((d, -m, -h, -low) if d < 0 else (d, m, low, h) for d, m, low, h in measured), zero])
    reach = 1.1 * max(abs(edge) for point in points for edge in point[1:]) or 1.0
    plot = _Plot((points[0][0], points[-1][0]), (-reach, reach))
    band = [(d, h) for d, _, _, h in points] + [(d, low) for d, _, low, _ in reversed(points)]
    title = (
        f"Price around the begin of {event.event} ({event.n} times), in % of the event's day; band: 95 % of placebos"
    )
    parts = [
        plot.text(LEFT, 18, title),
        f'<polygon points="{plot.path(band)}" fill="{BAND}" fill-opacity=".18"/>',
        *(plot.level(figure, f"{figure:+.1f} %") for figure in (-reach / 1.1, 0, reach / 1.1)),
        f'<polyline points="{plot.path([point[:2] for point in points])}" fill="none" stroke="{LINE}" '
        'stroke-width="1.6"/>',
        *(plot.text(plot.x(point[0]), HEIGHT - 12, f"{point[0]:+d} d", "middle") for point in points),
    ]
    return _svg(parts, title)


class _Plot:
    """Scales of one plot: the ranges of the axes to the pixels of the drawing."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self._across, self._up = across, up

    def x(self, figure: float) -> float:
        low, high = self._across
        return LEFT + (WIDTH - LEFT - RIGHT) * (figure - low) / (high - low)

    def y(self, figure: float) -> float:
        low, high = self._up
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (figure - low) / (high - low)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(across):.1f},{self.y(up):.1f}" for across, up in points)

    def level(self, figure: float, label: str, *, dashed: bool = False) -> str:
        """A horizontal line with its label."""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(figure):.1f}" y2="{self.y(figure):.1f}"'
        return f'{line} stroke="{GRID}"{dash}/>' + self.text(LEFT - 6, self.y(figure) + 4, label, "end")

    @staticmethod
    def text(x: float, y: float, words: str, anchor: str = "start") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(parts: Sequence[str], label: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}" font-family="sans-serif" font-size="11">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>"])
