"""The posts of an hour, as short excerpts with a link to their source. No pictures."""

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Protocol

import streamlit as st

from bizcharts_pipeline.app.components.frame import View
from bizcharts_pipeline.app.queries.index import HOUR, reading_of
from bizcharts_pipeline.app.queries.posts import picture_labels, posts_of_hour
from bizcharts_pipeline.app.theme import DASH, moment, share, stance
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.text.slurs import mask_slurs
from bizcharts_pipeline.text.untrusted import as_html, plain
from bizcharts_pipeline.warehouse.image_neighbours import PictureLabels
from bizcharts_pipeline.warehouse.posts import Post, source_link

STYLE = """<style>
.post { border-top: 1px solid rgba(128, 128, 128, .35); padding: .5rem 0; overflow-wrap: anywhere; }
.post .said { margin: .1rem 0; }
.post .about { font-size: .8rem; opacity: .8; }
.post b { unicode-bidi: isolate; }
</style>"""


class Excerpt(Protocol):
    """What is shown of a post's own words, and where it is to be read."""

    @property
    def thread_id(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...


def show_posts(view: View, hour: datetime) -> None:
    """Show on the app's page the posts of the hour that begins at ``hour`` (naive UTC)."""
    reading = reading_of(view.database, hour, view.as_of)
    st.header(f"Posts of {moment(hour, view.zone)}", anchor=False)
    if reading is None:
        st.write("This hour has no reading.")
        return
    found = posts_of_hour(view.database, hour, reading.model_version, view.as_of)
    if not found.posts:
        st.write("No post of this hour is stored: none was made, none was collected, or retention has deleted them.")
        return
    masked = st.toggle("Mask slurs", value=True, key="mask_slurs")
    shown = f"the {len(found.posts)} most decided are shown" if found.total > len(found.posts) else "all are shown"
    st.caption(
        f"{counted(found.total, 'opening post')} between {hour:%H:%M} and {hour + HOUR:%H:%M} UTC; {shown}. The "
        f"reading rests on those of the last {view.settings.fear_greed.window_hours} hours."
    )
    labels = picture_labels(view.database, tuple(post.thread_id for post in found.posts), view.as_of)
    items = (as_item(post, labels.get(post.thread_id), view.settings, masked=masked) for post in found.posts)
    st.html(STYLE + "".join(items))


def as_item(post: Post, labels: PictureLabels | None, settings: Settings, *, masked: bool) -> str:
    """Return a post for the app's page as HTML: every word of a stranger in it is escaped. ``labels``: of posts with
    the same picture."""
    facts = [
        f"{post.posted_at:%H:%M} UTC",
        f"stance {stance(post.score)}" + ("" if post.confidence is None else f", certainty {share(post.confidence)}"),
        "" if post.replies is None else counted(post.replies, "reply", "replies"),
        "with a picture" if post.has_image else "",
        str(labels) if labels else "",
        ", ".join(post.coins),
    ]
    return item_of(post, facts, settings, masked=masked)


def item_of(post: Excerpt, facts: Iterable[str], settings: Settings, *, masked: bool) -> str:
    """Return an excerpt of a post for the app's page as HTML, with its link and ``facts``; everything in it is
    escaped."""

    def said(text: str | None) -> str:
        line = plain(text)
        return as_html(mask_slurs(line) if masked else line)

    about = " · ".join(as_html(fact) for fact in facts if fact)
    title = f"<b>{said(post.subject)}</b> " if post.subject else ""
    text = said(post.text) or (DASH if not post.subject else "")
    address = escape(source_link(post.source, post.thread_id, settings), quote=True)
    link = f'<a href="{address}" target="_blank" rel="noopener noreferrer">No. {post.thread_id}</a>'
    return f'<div class="post"><div class="said">{title}{text}</div><div class="about">{link} · {about}</div></div>'
