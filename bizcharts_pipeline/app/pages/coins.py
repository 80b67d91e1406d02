"""Coins: the mood towards each coin that the board names today."""

from datetime import timedelta
from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.address import COIN, choose
from bizcharts_pipeline.app.components.frame import View, explained, foot, open_view
from bizcharts_pipeline.app.pages import coin
from bizcharts_pipeline.app.queries.coins import MAX_COINS, BoardRow, board
from bizcharts_pipeline.app.queries.recent import signs_of
from bizcharts_pipeline.app.theme import cell, interval, moment, stance
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.index.shilling import REUSES, CoinSigns

BULLISH, BEARISH, MENTIONED = "Most bullish", "Most bearish", "Most mentioned"
ORDERS = {
    BULLISH: "by the lower end of the 90 % interval, highest first",
    BEARISH: "by the upper end of the 90 % interval, lowest first",
    MENTIONED: "by the number of posts",
}
TABLE = "coin_board"
ROW_HEIGHT, ROWS_SHOWN = 36, 30


def page() -> None:
    """Draw the app's page Coins."""
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
    order = choose("Order", ORDERS, BULLISH, "order")
    ranked = in_order(rows, order)
    st.caption(
        f"{counted(len(rows), 'coin')} of {newest.bucket_start:%Y-%m-%d} (UTC), computed "
        f"{moment(newest.computed_at, view.zone)}; {ORDERS[order]}. A coin with few mentions has a wide "
        "interval, so its mean alone does not put it first. Select a row to open the coin; click a column's head to "
        "sort by it."
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
    _signs(view)
    foot()


def _signs(view: View) -> None:
    """Show each coin's posts with and without those that show signs of shilling."""
    hours = view.settings.fear_greed.coin_window_hours
    with explained():
        found = signs_of(view.database, view.settings.fear_greed, timedelta(hours=hours), view.as_of)
    st.header("With and without suspected shilling", anchor=False)
    if not found:
        st.write("No post of this time names a coin.")
        return
    st.caption(
        f"Posts of the last {hours} hours that name a coin. Suspected are copies of an earlier post, and {REUSES} or "
        "more posts about one coin that share a picture or link to the same host; advertisements do not count anyway. "
        "The moods are weighted means of these posts alone; the mood above remembers earlier posts too. A sign is no "
        "proof, and a promoter who rewords every post leaves none."
    )
    st.dataframe(
        [signs_as_record(signs) for signs in found[:MAX_COINS]],
        hide_index=True,
        width="stretch",
        column_config=_SIGNS,
        alt="Signs of shilling: posts, suspected posts, and the mood with and without them, of each coin",
    )


def signs_as_record(signs: CoinSigns) -> dict[str, Any]:
    """Return a coin's signs of shilling as a row of a table on the app's page Coins."""
    return {
        "coin": signs.coin_symbol,
        "posts": signs.posts,
        "share": 100 * signs.share,
        "suspected": signs.suspected,
        "copies": signs.copies,
        "pictures": signs.same_picture,
        "hosts": signs.same_host,
        "adverts": signs.adverts,
        "with": cell(signs.mood.stance),
        "without": cell(signs.without.stance),
        "without, 90 %": interval(stance(signs.without.lo), stance(signs.without.hi)),
    }


_SIGNS = {
    "coin": st.column_config.TextColumn("Coin", pinned=True),
    "posts": st.column_config.NumberColumn("Posts"),
    "share": st.column_config.NumberColumn("Share of threads", format="%.1f %%", help="Share of all new threads"),
    "suspected": st.column_config.NumberColumn("Suspected"),
    "copies": st.column_config.NumberColumn("Copies", help="Nearly the text of a post of the 48 hours before"),
    "pictures": st.column_config.NumberColumn("Same picture"),
    "hosts": st.column_config.NumberColumn("Same host", help="Links to one host that is not a common one"),
    "adverts": st.column_config.NumberColumn("Adverts", help="Left out of the index and of the posts here"),
    "with": st.column_config.NumberColumn("Mood of all", format="%+.2f"),
    "without": st.column_config.NumberColumn(
        "Without", format="%+.2f", help="Mood of the posts that are not suspected"
    ),
    "without, 90 %": st.column_config.TextColumn("90 %"),
}


def open_coin(symbol: str) -> None:
    """Go to the app's page of a coin."""
    st.switch_page(st.Page(coin.page, title="Coin", url_path="coin"), query_params={COIN: symbol})


def in_order(rows: tuple[BoardRow, ...], order: str) -> list[BoardRow]:
    """Return the coins in the order that the viewer of the page Coins chose, one of :data:`ORDERS`; coins without a
    score come last."""
    keys = {
        BULLISH: lambda row: (row.reading.lo is None, -(row.reading.lo or 0.0)),
        BEARISH: lambda row: (row.reading.hi is None, row.reading.hi or 0.0),
        MENTIONED: lambda row: (False, -row.reading.mentions),
    }
    return sorted(rows, key=keys[order])


def as_record(row: BoardRow) -> dict[str, Any]:
    """Return a coin as a row of the table on the app's page Coins; a table's cells are drawn as plain text."""
    reading = row.reading
    return {
        "coin": reading.coin_symbol,
        "mood": cell(reading.score),
        "low": cell(reading.lo),
        "high": cell(reading.hi),
        "change": cell(row.change),
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
