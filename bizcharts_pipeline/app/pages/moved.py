"""What moved it: the change of the mood between two moments, as a sum of parts."""

from datetime import datetime, timedelta

import streamlit as st

from bizcharts_pipeline.app.components.address import FROM, SPAN, TO, choose, read_moment
from bizcharts_pipeline.app.components.bars import as_bars
from bizcharts_pipeline.app.components.frame import View, explained, foot, open_view
from bizcharts_pipeline.app.components.posts import STYLE, item_of
from bizcharts_pipeline.app.queries.moved import moved
from bizcharts_pipeline.app.theme import change, moment, share, stance
from bizcharts_pipeline.index.moved import Change, MovedThread
from bizcharts_pipeline.index.moved_words import missing_in_words, terms_in_words, view_in_words
from bizcharts_pipeline.settings import Settings

SPANS = {
    "1 hour": timedelta(hours=1),
    "24 hours": timedelta(hours=24),
    "7 days": timedelta(days=7),
    "30 days": timedelta(days=30),
}
DEFAULT_SPAN = "24 hours"
LEAST_UNNAMED = 0.005  # share of the weight below which it is not mentioned
KINDS = {"came": "new", "left": "left the window", "stayed": "weighs more or less"}
HOW_TO_READ = """
The stance at a moment is a weighted mean over posts: a post weighs more the newer it is, the more replies it has and
the clearer its stance, and copies share the weight of one. So the change is exactly the sum of the parts of each table.

- *Older posts that count less* is what time alone does.
- *Trust in fast or slow filters*: the estimate mixes filters that forget at different speeds, and the posts decide
  which of them counts.
- *Left out*: the whole is computed again as if the thread had never been made. The difference is not minus the effect,
  because the other posts then weigh more.
"""


def page() -> None:
    """Draw the app's page "What moved it"."""
    view = open_view("What moved the mood")
    start, end = _moments(view)
    with explained():
        found = moved(view.database, view.settings, start, end, view.as_of)
    st.header(_in_one_sentence(found), anchor=False)
    st.caption(f"From {moment(found.start, view.zone)} to {moment(found.end, view.zone)}.")
    if missing := missing_in_words(found):
        st.warning(missing)
    st.html(as_bars("moved by", terms_in_words(found), view.palette, total=found.change))
    for title, parts in (("coin", found.coins), ("general", found.generals), ("scorer", found.scorers)):
        with st.expander(f"By {title}", expanded=title == "coin"):
            st.html(as_bars(title, view_in_words(parts, found.rest), view.palette, total=found.change))
    _threads(view, found)
    with st.expander("How to read this"):
        st.markdown(HOW_TO_READ)
    foot()


def _moments(view: View) -> tuple[datetime, datetime]:
    """Return the two moments that the link names; those that it leaves open follow from the present and the span."""
    written = {name: read_moment(st.query_params.get(name)) for name in (FROM, TO)}
    choice, own = st.columns([3, 1], vertical_alignment="bottom")
    with choice:
        span = choose("Within", SPANS, DEFAULT_SPAN, SPAN, labelled=True)
    with own.popover("Choose times", width="stretch"):
        _own_moments(written[FROM], written[TO])
    latest = view.now.replace(second=0, microsecond=0)
    end = written[TO] or latest
    if end > view.now:
        st.warning(f"{moment(end)} has not come yet, so {moment(latest)} is shown.")
        end = latest
    return written[FROM] or end - SPANS[span], end


def _own_moments(start: datetime | None, end: datetime | None) -> None:
    with st.form("moments_form", border=False):
        texts = {
            FROM: st.text_input("From (UTC)", start.isoformat(" ", "minutes") if start else ""),
            TO: st.text_input("To (UTC)", end.isoformat(" ", "minutes") if end else "", placeholder="now"),
        }
        if st.form_submit_button("Show", width="stretch"):
            found = {name: read_moment(text) for name, text in texts.items() if text.strip()}
            if None in found.values():
                st.error("Write each as 2026-03-01 12:00.")
                return
            for name in (FROM, TO):
                st.query_params.pop(name, None)
            for name, at in found.items():
                assert at
                st.query_params[name] = at.isoformat()
            st.rerun()


def _in_one_sentence(found: Change) -> str:
    went = f"The stance went from {stance(found.stance_from)} to {stance(found.stance_to)}: {change(found.change, 2)}"
    if abs(found.change) < 0.005:
        return f"The stance stayed at {stance(found.stance_to)}"
    return went


def _threads(view: View, found: Change) -> None:
    st.header("The most influential threads", anchor=False)
    if not found.threads:
        st.write("No single thread moved it: no post of these days is stored.")
        return
    masked = st.toggle("Mask slurs", value=True, key="mask_slurs")
    st.html(STYLE + "".join(as_item(thread, view.settings, masked=masked) for thread in found.threads))
    if found.unnamed_weight >= LEAST_UNNAMED:
        st.caption(
            f"Posts from before {moment(found.named_from)} are not listed singly; together they carry "
            f"{share(found.unnamed_weight)} of the weight of the first stance."
        )


def as_item(thread: MovedThread, settings: Settings, *, masked: bool) -> str:
    """Return a thread for the app's page "What moved it" as HTML, with what it moved; every word of a stranger in it
    is escaped."""
    facts = [
        f"effect {change(thread.effect, 4)}",
        f"adds {change(thread.without, 4)} to the change, as computed with it and without it",
        f"stance {stance(thread.score)}",
        f"{KINDS[thread.kind]}, of {thread.posted_at:%m-%d %H:%M} UTC",
        ", ".join(thread.coins),
        f"/{thread.general}/" if thread.general else "",
        f"read by {thread.scorer}",
    ]
    return item_of(thread, facts, settings, masked=masked)
