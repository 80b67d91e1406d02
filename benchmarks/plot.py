"""The history of the ratios as one SVG image: a curve for each figure, a line for each kind of machine."""

from collections.abc import Sequence
from html import escape
from string import ascii_uppercase

from benchmarks.history import Figure
from bizcharts_pipeline.training.curve import COLOURS, HEIGHT, WIDTH, svg_curve

COLUMNS = 2
LINE = 20


def svg_history(history: Sequence[Figure]) -> str:
    """Draw ``history``, which ascends by time, over the number of the run; at most the four kinds that ran last."""
    kinds = list(dict.fromkeys(figure.run.kind for figure in reversed(history)))[: len(COLOURS)]
    letters = dict(zip(kinds, ascii_uppercase, strict=False))
    runs = {at: number for number, at in enumerate(dict.fromkeys(figure.run.at for figure in history), 1)}
    shown = list(dict.fromkeys((figure.room, figure.name) for figure in history))
    top = (len(kinds) + 2) * LINE
    words = ["Cost over that of a peer or a lower bound in the same run, by run; lower is better"]
    words += [f"{letter}: {kind}" for kind, letter in letters.items()]
    height = top + -(-len(shown) // COLUMNS) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{COLUMNS * WIDTH}" height="{height}" fill="#fff"/>',
        *(
            f'<text x="{LINE}" y="{(row + 1) * LINE}" font-size="13">{escape(line)}</text>'
            for row, line in enumerate(words)
        ),
    ]
    for place, (room, name) in enumerate(shown):
        points = {
            letter: [
                (float(runs[each.run.at]), each.ratio.value)
                for each in history
                if (each.room, each.name, each.run.kind) == (room, name, kind)
            ]
            for kind, letter in letters.items()
        }
        x, y = place % COLUMNS * WIDTH, top + place // COLUMNS * HEIGHT
        parts.append(f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}">')
        parts += [svg_curve(points, f"{room}: {name}", "run"), "</svg>"]
    return "\n".join([*parts, "</svg>"])
