"""The script that Streamlit runs for each session: which pages there are."""

import streamlit as st

from bizcharts_pipeline.app.pages import coin, coins, copies, data, generals, lab, models, moved, now

PAGES = {
    "now": now.page,
    "moved": moved.page,
    "coins": coins.page,
    "coin": coin.page,
    "generals": generals.page,
    "copies": copies.page,
    "lab": lab.page,
    "models": models.page,
    "data": data.page,
}
TITLES = {
    "now": "Now",
    "moved": "What moved it",
    "coins": "Coins",
    "coin": "Coin",
    "generals": "Generals",
    "copies": "Copies",
    "lab": "Lab",
    "models": "Models",
    "data": "Data",
}
HIDDEN = {"coin"}  # opened from the board


def app(first: str = "now") -> None:
    """Show the page of the app that the browser's address names; ``first`` where it names none."""
    st.set_page_config(page_title="BizCharts", layout="wide", menu_items={})
    pages = [
        st.Page(
            draw,
            title=TITLES[name],
            url_path=name,
            default=name == first,
            visibility="hidden" if name in HIDDEN else "visible",
        )
        for name, draw in PAGES.items()
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    app()
