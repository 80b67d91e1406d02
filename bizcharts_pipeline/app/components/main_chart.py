"""The chart of the index over time: values with their interval, the price of Bitcoin, and what they rest on.

Drawn by uPlot, whose JavaScript comes from the installed package `uplot-python`. Only as many points are sent as a
screen shows: the whole range coarsely, and what the viewer has zoomed into finely.
"""

import base64
import math
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from bizcharts_pipeline.app.components.downsample import Floats, Ints, kept_points
from bizcharts_pipeline.app.queries.index import Series
from bizcharts_pipeline.app.theme import Palette, index_value, moment, stance
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.index.readings import LABELS

NAME = "bizcharts_main_chart"
PARTS = 800  # stretches of time of which the extremes are sent
MAX_SWITCHES = 50
HERE = Path(__file__).parent
MAX_EPOCH = 2**32 - 1

Window = tuple[float, float]  # Unix seconds


@dataclass(frozen=True)
class Clicked:
    """A click in the chart: the hour as Unix seconds; ``None`` without one."""

    hour: float | None


def draw(series: Series, range_name: str, palette: Palette, key: str, price_name: str = "BTC") -> Clicked:
    """Draw the app's chart of ``series``, which has at least one point; the zoom stays for as long as ``key`` and
    ``range_name`` do."""
    component = st.components.v2.component(NAME, html=_HTML, css=_css(), js=_javascript())
    result = component(
        key=key,
        data=payload(series, range_name, palette, window_of(st.session_state.get(key)), price_name),
        on_view_change=_nothing,
        on_hour_change=_nothing,
    )
    return Clicked(_number(result.get("hour")))


def payload(
    series: Series, range_name: str, palette: Palette, window: Window | None, price_name: str = "BTC"
) -> dict[str, Any]:
    """Return what the browser draws the app's chart from: times as unsigned and figures as single-precision floats, in
    base64."""
    ranked = series.ranked
    main = (series.value, series.lo, series.hi) if ranked else (series.stance, series.stance_lo, series.stance_hi)
    figures = dict(zip(("value", "lo", "hi"), main, strict=True)) | {
        "price": series.price,
        "n_eff": series.n_eff,
        "coverage": series.coverage,
    }
    kept = points_to_send(series.times, list(figures.values()), window)
    return {
        "range": range_name,
        "look": palette.text,
        "ranked": ranked,
        "times": _encoded(series.times[kept].astype("<u4")),
        "figures": [(name, _encoded(values[kept].astype("<f4"))) for name, values in figures.items()],
        "switches": series.switches[-MAX_SWITCHES:],
        "outages": series.outages,
        "afterwards": series.afterwards,
        "labels": LABELS,
        "palette": asdict(palette),
        "price_name": price_name,
        "summary": summary(series),
    }


def points_to_send(times: Ints, figures: list[Floats], window: Window | None) -> Ints:
    """Return the places of the points that the app sends to the browser's chart: more of them inside the zoomed
    ``window``, and as much again at each side."""
    kept = kept_points(times, figures, PARTS)
    if window is None:
        return kept
    start, end = window
    margin = (end - start) / 2
    first, last = np.searchsorted(times, [start - margin, end + margin])
    inside = first + kept_points(times[first:last], [each[first:last] for each in figures], PARTS)
    return np.unique(np.concatenate((kept, inside)))


def window_of(state: Any) -> Window | None:
    """Return the time range that the app's chart shows in the browser; ``None`` if the browser sent none, or an
    invalid one."""
    view = state.get("view") if hasattr(state, "get") else None
    if not isinstance(view, list | tuple) or len(view) != 2:
        return None
    start, end = (_number(each) for each in view)
    return (start, end) if start is not None and end is not None and start < end else None


def summary(series: Series) -> str:
    """Return the app's chart in words, for viewers who do not see it."""
    figures, name, said = (
        (series.value, "Fear/Greed index", index_value) if series.ranked else (series.stance, "Stance", stance)
    )
    begin, end = (moment(from_epoch(float(series.times[place]))) for place in (0, -1))
    known = figures[~np.isnan(figures)]
    if not len(known):
        return f"{name} from {begin} to {end}: no reading."
    return (
        f"{name} from {begin} to {end}: newest {said(float(known[-1]))}, lowest {said(float(known.min()))}, "
        f"highest {said(float(known.max()))}. Arrow keys move, plus and minus zoom, 0 shows all."
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and 0 <= value <= MAX_EPOCH else None


def _encoded(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _nothing() -> None:
    """Streamlit reports a change only if there is a callback; the page is run again anyway."""


_HTML = '<div class="chart" tabindex="0" role="img"><div class="main"></div><div class="strip"></div></div>'


@cache
def _javascript() -> str:
    """uPlot and what uses it. Begun with a comment line: a string without an early line end is taken for a path."""
    return f"// uPlot\n{_uplot('uPlot.iife.js')}\n{(HERE / 'main_chart.js').read_text(encoding='utf-8')}"


@cache
def _css() -> str:
    return f"/* uPlot */\n{_uplot('uPlot.min.css')}\n{(HERE / 'main_chart.css').read_text(encoding='utf-8')}"


def _uplot(name: str) -> str:
    """Return a file of the installed package, which is not imported: that would need IPython."""
    found = find_spec("uplot")
    assert found, "serve_app has looked for it"
    assert found.submodule_search_locations
    return (Path(found.submodule_search_locations[0]) / "static" / name).read_text(encoding="utf-8")
