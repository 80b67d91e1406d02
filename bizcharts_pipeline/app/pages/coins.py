"""Coins: the mood towards each coin that the board names today."""

from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.address import COIN
from bizcharts_pipeline.app.components.frame import explained, foot, open_view
from bizcharts_pipeline.app.pages import coin
from bizcharts_pipeline.app.queries.coins import BoardRow, board
from bizcharts_pipeline.app.theme import moment
from bizcharts_pipeline.core.counted import counted

BULLISH, BEARISH, MENTIONED = "Most bullish", "Most bearish", "Most mentioned"
ORDERS = {
    BULLISH: "by the lower end of the interval: coins that are bullish for certain come first",
    BEARISH: "by the upper end of the interval: coins that are bearish for certain come first",
    MENTIONED: "by the number of posts",
}
TABLE = "coin_board"
ROW_HEIGHT, ROWS_SHOWN = 36, 30


def page() -> None:
    """Draw the page."""
    view = open_view("Coins")
    with explained():
        rows = board(view.database, view.as_of)
    if not rows:
        st.write(
            "No coin has a reading yet. `make serve` polls the board; the first mention of a coin fills this page."
        )
        foot()
        return
    newest = rows[0].reading
    chosen_order = st.segmented_control(
        "Order",
        list(ORDERS),
        default=BULLISH,
        required=True,
        key="order",
        bind="query-params",
        label_visibility="collapsed",
    )
    order = chosen_order or BULLISH
    ranked = in_order(rows, order)
    st.caption(
        f"{counted(len(rows), 'coin')} of {newest.bucket_start:%Y-%m-%d} (UTC), computed "
        f"{moment(newest.computed_at, view.zone)}; {ORDERS[order]}. A mean of few mentions says little, so it does not "
        "rank. Select a row to open the coin; click a column's head to sort by it."
    )
    chosen = st.dataframe(
        [as_record(row) for row in ranked],
        hide_index=True,
        width="stretch",
        height=ROW_HEIGHT * (1 + min(len(ranked), ROWS_SHOWN)) + 2,
        row_height=ROW_HEIGHT,
        key=TABLE,
        on_select="rerun",
        selection_mode="single-row",
        column_config=_columns(ranked),
        alt="Board of coins: mood with its 90 % interval, change, mentions and share of each coin",
    )
    places = chosen.selection.rows
    if places and places[0] < len(ranked):
        open_coin(ranked[places[0]].reading.coin_symbol)
    foot()


def open_coin(symbol: str) -> None:
    """Go to the page of a coin."""
    st.switch_page(st.Page(coin.page, title="Coin", url_path="coin"), query_params={COIN: symbol})


def in_order(rows: tuple[BoardRow, ...], order: str) -> list[BoardRow]:
    """Return the coins in an order of :data:`ORDERS`; coins without a score come last."""
    keys = {
        BULLISH: lambda row: (row.reading.lo is None, -(row.reading.lo or 0.0)),
        BEARISH: lambda row: (row.reading.hi is None, row.reading.hi or 0.0),
        MENTIONED: lambda row: (False, -row.reading.mentions),
    }
    return sorted(rows, key=keys[order])


def as_record(row: BoardRow) -> dict[str, Any]:
    """Return a coin as a row of the table; a table's cells are drawn as plain text."""
    reading = row.reading
    return {
        "coin": reading.coin_symbol,
        "mood": reading.score,
        "low": reading.lo,
        "high": reading.hi,
        "change": row.change,
        "mentions": reading.mentions,
        "share": 100 * row.share,
        "30 days": list(row.recent),
    }


def _columns(rows: list[BoardRow]) -> dict[str, Any]:
    config = st.column_config
    scores = [score for row in rows for score in row.recent] or [0.0]
    return {
        "coin": config.TextColumn("Coin", pinned=True),
        "mood": config.NumberColumn("Mood", format="%+.2f", help="Stance, −1 (bearish) to +1 (bullish)"),
        "low": config.NumberColumn("90 % from", format="%+.2f"),
        "high": config.NumberColumn("to", format="%+.2f"),
        "change": config.NumberColumn("Change", format="%+.2f", help="Since the day before"),
        "mentions": config.NumberColumn("Mentions", help="Opening posts that name the coin and count"),
        "share": config.NumberColumn("Share", format="%.1f %%", help="Of all mentions on the board"),
        "30 days": config.LineChartColumn("30 days", y_min=min(scores), y_max=max(scores)),
    }
