"""One coin: its mood over time beside its price."""

from datetime import datetime, timedelta

import numpy as np
import streamlit as st

from bizcharts_pipeline.app.components.address import COIN, RANGES, bounds, choose_range, read_symbol
from bizcharts_pipeline.app.components.frame import View, explained, foot, open_view
from bizcharts_pipeline.app.components.main_chart import draw
from bizcharts_pipeline.app.queries.coins import BoardRow, CoinPast, board, coin_past
from bizcharts_pipeline.app.queries.index import Series, prices_at
from bizcharts_pipeline.app.theme import DASH, change, interval, moment, share, stance, usd
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.warehouse.published import LENGTHS, Bucket

CHART = "coin_chart"
DEFAULT_RANGE = "1 month"
BY_HOUR_UP_TO = timedelta(days=91)  # a longer range is drawn by day


def page() -> None:
    """Draw the app's page Coin."""
    symbol = read_symbol(st.query_params.get(COIN))
    view = open_view(symbol or "Coin")
    with explained():
        rows = board(view.database, view.as_of)
    symbol = _chosen(symbol, rows)
    if symbol is None:
        st.write("No coin has a reading yet.")
        foot()
        return
    _today(view, next((row for row in rows if row.reading.coin_symbol == symbol), None))
    _past(view, symbol, choose_range(DEFAULT_RANGE))
    foot()


def _chosen(symbol: str | None, rows: tuple[BoardRow, ...]) -> str | None:
    """The coin of the link, or the one that is chosen from the board; the link follows."""
    names = [row.reading.coin_symbol for row in rows]
    if symbol and symbol not in names:
        names.insert(0, symbol)
    if not names:
        return None
    chosen = st.selectbox("Coin", names, index=names.index(symbol) if symbol else 0, label_visibility="collapsed")
    if chosen != symbol:
        st.query_params[COIN] = chosen
        st.rerun()
    return chosen


def _today(view: View, row: BoardRow | None) -> None:
    if row is None:
        st.write("The board does not name this coin today.")
        return
    reading = row.reading
    with st.container(horizontal=True):
        st.metric("Mood", stance(reading.score), border=True)
        st.metric("90 % interval", interval(stance(reading.lo), stance(reading.hi)), border=True)
        st.metric("Since the day before", change(row.change, 2), border=True)
        st.metric("Mentions", f"{reading.mentions:,}", border=True)
        st.metric("Share of mentions", share(row.share), border=True)
    st.caption(
        f"Computed {moment(reading.computed_at, view.zone)} by the model {as_markdown(reading.model_version)}, from "
        f"{counted(reading.mentions, 'post')} (effective sample size {reading.n_eff:.0f})."
    )


def _past(view: View, symbol: str, range_name: str) -> None:
    length = RANGES[range_name]
    bucket: Bucket = "hour" if length and length <= BY_HOUR_UP_TO else "day"
    with explained():
        past = coin_past(view.database, symbol, bucket, *bounds(range_name, view.now), view.as_of)
    if not past.readings:
        st.write("The board has not named this coin in this range.")
        return
    if past.prices:
        at, price = past.prices[-1]
        st.caption(f"Price {usd(price)} at {moment(at, view.zone)}.")
    else:
        st.caption(
            f"There is no price of {as_markdown(symbol)}: `coins` of [price\\_data] lists those that are priced."
        )
    draw(as_series(past), f"{symbol} {range_name} {view.as_of or ''}", view.palette, CHART, symbol)
    with st.expander("As a table"):
        st.dataframe([_record(past, place) for place in range(len(past.readings) - 1, -1, -1)], hide_index=True)


def as_series(past: CoinPast) -> Series:
    """Return a coin's past as the app's chart draws it: the score as the stance, no index value, no coverage."""
    times = np.array([to_epoch(each.bucket_start) for each in past.readings], np.int64)
    figures = {
        name: np.array([getattr(each, column) for each in past.readings], np.float64)
        for name, column in (("stance", "score"), ("stance_lo", "lo"), ("stance_hi", "hi"), ("n_eff", "n_eff"))
    }
    none = np.full(len(times), np.nan)
    length = int(LENGTHS[past.readings[0].bucket].total_seconds())
    return Series(
        times,
        value=none,
        lo=none,
        hi=none,
        coverage=none,
        price=prices_at(times + length, past.prices),
        switches=(),
        outages=(),
        afterwards=(),
        **figures,
    )


def _record(past: CoinPast, place: int) -> dict[str, datetime | str | int]:
    reading = past.readings[place]
    return {
        "UTC": reading.bucket_start,
        "mood": stance(reading.score),
        "90 %": interval(stance(reading.lo), stance(reading.hi)),
        "mentions": reading.mentions,
        "model": reading.model_version or DASH,
    }
