"""Parts of a sum as a table with a bar each, to the left of the middle where they lower it, else to the right."""

from collections.abc import Sequence

from bizcharts_pipeline.app.theme import Palette, change
from bizcharts_pipeline.index.moved import Part
from bizcharts_pipeline.text.untrusted import as_html

DIGITS = 3
_STYLE = """<style>
.bars { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.bars th { font-weight: 600; text-align: left; }
.bars th, .bars td { padding: .15rem .4rem; }
.bars .figure { text-align: right; white-space: nowrap; }
.bars .bar { width: 38%; }
@media (max-width: 640px) { .bars .bar { width: 22%; } }
.bars .track { position: relative; height: .9rem; border-left: 1px solid rgba(128, 128, 128, .6); margin-left: 50%; }
.bars .track span { position: absolute; top: 0; height: 100%; }
.bars tfoot td { border-top: 1px solid rgba(128, 128, 128, .6); font-weight: 600; }
</style>"""


def as_bars(title: str, parts: Sequence[Part], palette: Palette, *, total: float) -> str:
    """Return the app's table of parts, with a bar for each, as HTML; ``total`` is the sum of the parts, and names in
    them are escaped."""
    largest = max([abs(part.effect) for part in parts] + [1e-12])
    rows = "".join(_row(part, largest, palette) for part in parts)
    return (
        f'{_STYLE}<table class="bars"><thead><tr><th scope="col">{as_html(title)}</th><td class="bar"></td>'
        f'<th scope="col" class="figure">stance</th><th scope="col" class="figure">threads</th></tr></thead>'
        f'<tbody>{rows}</tbody><tfoot><tr><td>together</td><td></td><td class="figure">{change(total, DIGITS)}</td>'
        "<td></td></tr></tfoot></table>"
    )


def _row(part: Part, largest: float, palette: Palette) -> str:
    width = 100 * abs(part.effect) / largest  # of the half of the track
    side = f"left:0;width:{width:.1f}%" if part.effect >= 0 else f"left:-{width:.1f}%;width:{width:.1f}%"
    colour = palette.classes[4] if part.effect >= 0 else palette.classes[0]
    threads = f"{part.threads:,}" if part.threads else ""
    return (
        f'<tr><td>{as_html(part.name)}</td><td class="bar"><div class="track"><span '
        f'style="{side};background:{colour}"></span></div></td><td class="figure">{change(part.effect, DIGITS)}</td>'
        f'<td class="figure">{threads}</td></tr>'
    )
