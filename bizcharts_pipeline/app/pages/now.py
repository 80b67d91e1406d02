"""Now: how the board feels, whether that is unusual, and how sure it is."""

import math
from datetime import timedelta
from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.address import HOUR, bounds, choose_range, hour_at, read_hour
from bizcharts_pipeline.app.components.downsample import Floats
from bizcharts_pipeline.app.components.frame import FIRST_RUN, View, explained, foot, open_view
from bizcharts_pipeline.app.components.gauge import svg_gauge
from bizcharts_pipeline.app.components.main_chart import draw
from bizcharts_pipeline.app.components.posts import show_posts
from bizcharts_pipeline.app.queries import index as queries
from bizcharts_pipeline.app.theme import DASH, change, index_value, interval, moment, share, stance, usd
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.index.readings import CALIBRATING, NO_READING, NORMAL, THIN, label_of
from bizcharts_pipeline.index.words import class_in_words, place_in_words, state_in_words
from bizcharts_pipeline.warehouse.published import Reading

REFRESH_SECONDS = 60
FRESH = timedelta(minutes=5)  # a board that was polled within is being polled
CHART = "main_chart"
DEFAULT_RANGE = "1 month"
TABLE_HOURS = 500
STATES = {
    NORMAL: ":material/check_circle: normal: posts and history suffice",
    THIN: ":material/warning: thin: few posts, read with caution",
    CALIBRATING: ":material/hourglass_top: calibrating: too little history to rank in",
    NO_READING: ":material/block: no reading: too few posts",
}
HOW_TO_READ = """
- **The index** runs from 0 (fear) to 100 (greed). It ranks the mood of /biz/ now among its own days of the past year:
  24 means that the mood is lower than on 76 % of them. There is no price in it, and it is no forecast.
- **The interval** (the outer arc, and the band of the chart) holds the board's present mood under the scoring model
  with a probability of 90 %. Where it reaches into another class, the class is *borderline*.
- **The stance** behind it runs from −1 (all bearish) to +1 (all bullish).
- In **the chart**, drag to zoom, double-click to see all, click an hour to read its posts. By keyboard: arrows move,
  plus and minus zoom, 0 shows all, Enter opens the posts of the newest hour in view. Grey columns are outages: the
  board was not polled. The bar at the foot marks hours that were computed afterwards, from the archive or by another
  model: nobody knew them then. Dashed lines mark another model: from there on readers saw its values, and all older
  ones were computed anew. The strip below shows how many posts the hour rests on, and which share of its hours were
  collected.
"""


def page() -> None:
    """Draw the app's page Now."""
    view = open_view("Mood of /biz/")
    run_every = None if view.as_of else REFRESH_SECONDS
    st.fragment(_reading, run_every=run_every)(view)
    range_name = choose_range(DEFAULT_RANGE)
    st.fragment(_chart, run_every=run_every)(view, range_name)
    with st.expander("How to read this"):
        st.markdown(HOW_TO_READ)
    foot()


def _reading(view: View) -> None:
    with explained():
        now = queries.current(view.database, view.as_of, view.settings.fear_greed.history_days)
    newest = now.newest
    if newest is None:
        st.markdown(FIRST_RUN)
        return
    dial, words = st.columns([2, 3], vertical_alignment="center")
    with dial:
        st.image(svg_gauge(newest, view.palette), width="stretch", alt=_in_one_sentence(newest))
    with words:
        _in_words(view, newest)
        st.markdown(f":small[{_next_reading(view, now)}]")
        if now.rescoring:
            st.info(as_markdown(str(now.rescoring)))
    with st.container(horizontal=True):
        for name, earlier in now.earlier:
            _compared(name, newest, earlier)


def _in_words(view: View, newest: Reading) -> None:
    parameters = view.settings.fear_greed
    if newest.value is None:
        st.header("No index value", anchor=False)
        st.markdown(f"**{as_markdown(state_in_words(newest, parameters))}.**")
    else:
        st.header(class_in_words(newest), anchor=False)
        st.markdown(
            f"The mood is **{as_markdown(place_in_words(newest))}**. With a probability of 90 % the index is "
            f"**{interval(index_value(newest.lo), index_value(newest.hi))}**."
        )
        if reason := state_in_words(newest, parameters):
            st.markdown(as_markdown(reason))
    stances = interval(stance(newest.stance_lo), stance(newest.stance_hi))
    st.markdown(
        f"Stance {stance(newest.stance)} ({stances}) between −1 (all bearish) and +1 (all bullish), from "
        f"{counted(newest.n, 'post')} (effective sample size {newest.n_eff:.0f}); {share(newest.coverage)} of the "
        "hours collected."
    )
    st.markdown(STATES.get(newest.state, as_markdown(newest.state)))


def _next_reading(view: View, now: queries.Now) -> str:
    """Show when the current reading ends and the next one comes."""
    assert now.newest
    end = now.newest.ended_at
    if view.as_of:
        return f"Reading of the hour to {moment(end, view.zone)}, by the model {as_markdown(now.newest.model_version)}."
    if now.last_poll is None or view.now - now.last_poll > FRESH:
        last = (
            "The board was never polled" if now.last_poll is None else f"Last poll: {moment(now.last_poll, view.zone)}"
        )
        return f"{last}. No new reading comes until the service runs (`make serve`)."
    if view.now >= end:
        return (
            f"Last poll: {moment(now.last_poll, view.zone)}. The hour ended at {moment(end, view.zone)}: its reading "
            "is final within minutes; then that of the running hour follows."
        )
    return (
        f"Last poll: {moment(now.last_poll, view.zone)}. The reading is brought up to date every minute, and is final "
        f"minutes after {moment(end, view.zone)}; then that of the next hour follows."
    )


def _compared(name: str, newest: Reading, earlier: Reading | None) -> None:
    value = earlier.value if earlier else None
    difference = newest.value - value if newest.value is not None and value is not None else None
    st.metric(
        name.capitalize(),
        DASH if value is None else index_value(value),
        "no reading"
        if value is None
        else label_of(value) + (f"; now {change(difference)}" if difference is not None else ""),
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def _chart(view: View, range_name: str) -> None:
    with explained():
        series = queries.hours(view.database, *bounds(range_name, view.now), view.as_of)
        if not len(series.times):
            st.write("There is no reading in this range.")
            return
        if not series.ranked:
            st.caption("The index is not there yet, so the stance is drawn: −1 (all bearish) to +1 (all bullish).")
        clicked = draw(series, f"{range_name} {view.as_of or ''}", view.palette, CHART)
        if clicked.hour is not None:
            st.query_params[HOUR] = hour_at(clicked.hour).isoformat()
        if hour := read_hour(st.query_params.get(HOUR)):
            show_posts(view, hour)
        with st.expander("As a table"):
            st.dataframe(as_records(series), hide_index=True, alt="The newest hours of the chart")


def as_records(series: queries.Series) -> list[dict[str, Any]]:
    """Return the newest hours of the chart as rows of the table on the app's page Now, the newest first."""

    def figure(values: Floats, place: int) -> float | None:
        value = float(values[place])
        return None if math.isnan(value) else value

    return [
        {
            "UTC": from_epoch(float(series.times[place])),
            "index": index_value(figure(series.value, place)),
            "90 %": interval(index_value(figure(series.lo, place)), index_value(figure(series.hi, place))),
            "stance": stance(figure(series.stance, place)),
            "posts, effective": f"{series.n_eff[place]:.0f}",
            "collected": share(figure(series.coverage, place)),
            "BTC": usd(figure(series.price, place)),
        }
        for place in range(len(series.times) - 1, max(-1, len(series.times) - 1 - TABLE_HOURS), -1)
    ]


def _in_one_sentence(reading: Reading) -> str:
    """The gauge for who does not see it."""
    if reading.value is None:
        return f"Fear/Greed gauge: {reading.state}"
    return (
        f"Fear/Greed gauge: {index_value(reading.value)} of 100, {class_in_words(reading)}, 90 % interval "
        f"{interval(index_value(reading.lo), index_value(reading.hi))}"
    )
