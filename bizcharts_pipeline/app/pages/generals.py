"""Generals: the board's recurring threads, and how each of them feels."""

from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.address import choose_days
from bizcharts_pipeline.app.components.frame import explained, foot, open_view
from bizcharts_pipeline.app.queries.recent import generals_of
from bizcharts_pipeline.app.theme import cell, moment
from bizcharts_pipeline.index.generals import General

OTHERS = "all other threads"


def page() -> None:
    """Draw the app's page Generals."""
    view = open_view("Generals")
    length = choose_days()
    with explained():
        found = generals_of(view.database, view.settings.fear_greed, length, view.as_of)
    if not found:
        st.write("No thread of this time is stored and scored yet.")
        foot()
        return
    st.caption(
        "A general is a thread that its followers open anew again and again, told by the tag in its subject. The mood "
        "is the weighted mean of its opening posts with the 90 % interval of their sampling: one or two posts say "
        "nothing. Generals about stocks and other things than crypto are left out of the index."
    )
    st.dataframe(
        [as_record(general) for general in found],
        hide_index=True,
        width="stretch",
        column_config=_COLUMNS,
        alt="Generals: threads, share, replies and mood with its interval of each",
    )
    foot()


def as_record(general: General) -> dict[str, Any]:
    """Return a general as a row of the table on the app's page Generals; a table's cells are drawn as plain text."""
    return {
        "general": f"/{general.name}/" if general.name else OTHERS,
        "threads": general.threads,
        "share": 100 * general.share,
        "replies": general.replies,
        "mood": cell(general.mood.stance),
        "low": cell(general.mood.lo),
        "high": cell(general.mood.hi),
        "counts": "yes" if general.counts else "no",
        "newest": moment(general.newest_at),
    }


_COLUMNS = {
    "general": st.column_config.TextColumn("General", pinned=True),
    "threads": st.column_config.NumberColumn("Threads"),
    "share": st.column_config.NumberColumn("Share", format="%.1f %%", help="Of all threads"),
    "replies": st.column_config.NumberColumn(
        "Replies", format="%.0f", help="Per thread two hours after it began; 0 of threads from the archive"
    ),
    "mood": st.column_config.NumberColumn("Mood", format="%+.2f", help="Stance, −1 (bearish) to +1 (bullish)"),
    "low": st.column_config.NumberColumn("90 % from", format="%+.2f"),
    "high": st.column_config.NumberColumn("to", format="%+.2f"),
    "counts": st.column_config.TextColumn("In the index"),
    "newest": st.column_config.TextColumn("Newest thread"),
}
