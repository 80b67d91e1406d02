"""Copies: texts that were posted again and again, and the weight that the index takes from them."""

from dataclasses import dataclass

import streamlit as st

from bizcharts_pipeline.app.components.address import choose_days
from bizcharts_pipeline.app.components.frame import explained, foot, open_view
from bizcharts_pipeline.app.components.posts import STYLE, item_of
from bizcharts_pipeline.app.queries.recent import MAX_GROUPS, Copies, copies_of
from bizcharts_pipeline.app.theme import share, stance
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.index.copypasta import RAID_POSTS, CopyGroup
from bizcharts_pipeline.index.moved_store import ThreadWords
from bizcharts_pipeline.settings import Settings

HOW_TO_READ = f"""
Posts belong together when a post has nearly the text of one of the 48 hours before it. In the index all posts of a
group weigh little more than one: *m* of them as many as 1 + ln *m*. A group of which {RAID_POSTS} or more came within
an hour is called a raid. Posts that were reworded are not recognized, and advertisements are not here: they do not
count at all.
"""


@dataclass(frozen=True)
class _FirstPost:
    """The first post of a group, as an excerpt is drawn."""

    thread_id: int
    source: str
    subject: str | None
    text: str | None


def page() -> None:
    """Draw the app's page Copies."""
    view = open_view("Copies and raids")
    length = choose_days()
    with explained():
        found = copies_of(view.database, view.settings.fear_greed, length, view.as_of)
    if not found.groups:
        st.write("No text was posted twice in this time, or no post of it is scored yet.")
    else:
        st.markdown(in_one_sentence(found))
        masked = st.toggle("Mask slurs", value=True, key="mask_slurs")
        items = [
            as_item(group, found.words.get(group.first_post), view.settings, masked=masked) for group in found.groups
        ]
        st.html(STYLE + "".join(items))
    with st.expander("How to read this"):
        st.markdown(HOW_TO_READ)
    foot()


def in_one_sentence(found: Copies) -> str:
    """Return for the app's page Copies, in a sentence, how many groups of copies, raids and posts there are."""
    groups = found.groups
    raids = sum(group.raid for group in groups)
    most = f"The {MAX_GROUPS} largest groups" if len(groups) == MAX_GROUPS else counted(len(groups), "group")
    posts = sum(group.posts for group in groups)
    return f"{most} of copies, {counted(raids, 'raid')} among them, {counted(posts, 'post')} in all."


def as_item(group: CopyGroup, words: ThreadWords | None, settings: Settings, *, masked: bool) -> str:
    """Return a group of copies for the app's page as HTML: its first post's words, escaped, and what became of its
    weight."""
    first = words or ThreadWords(None, None, "live")
    post = _FirstPost(group.first_post, first.source, first.subject, first.text)
    return item_of(post, facts(group), settings, masked=masked)


def facts(group: CopyGroup) -> list[str]:
    """Return what the app's page Copies says of a group."""
    alone = group.weight / (1 - group.lost)
    weight = f"weigh {group.weight:.1f} instead of {alone:.1f}: {share(group.lost)} of their weight is lost"
    return [
        f"{'raid' if group.raid else 'copies'}: {counted(group.posts, 'post')}, {group.first_at:%m-%d %H:%M} to "
        f"{group.last_at:%m-%d %H:%M} UTC, up to {group.most_in_an_hour} within an hour",
        weight if group.counts else "not in the index",
        f"stance {stance(group.stance)}",
        counted(group.pictures, "picture") if group.pictures else "",
        f"/{group.general}/" if group.general else "",
        ", ".join(group.coins),
    ]
