"""Enumerating a day: every opening post of it that the archive has, and whether its end was seen.

An answer without posts proves little: a search engine has its hiccups. So a day counts as complete only when posts
from beyond both of its ends were seen, or the same posts from both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from bizcharts_pipeline.archive.index_walk import IndexEnd, walk_index
from bizcharts_pipeline.archive.page import ArchivedPost, Counts
from bizcharts_pipeline.archive.page_store import DayPages, Found
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.archive.search_walk import walk_search
from bizcharts_pipeline.archive.times import set_right
from bizcharts_pipeline.core.clock import DAY, midnight

# Only with a post that much later is a day's end certain to be in: posts come into the archive minutes late.
SETTLED = timedelta(minutes=30)

Method = Literal["search", "index"]


@dataclass(frozen=True)
class DayPosts:
    """What was found of a day. ``missing`` says why it is not complete; ``None``: it is, its end was seen."""

    posts: tuple[ArchivedPost, ...]
    counts: Mapping[int, Counts]  # of the threads whose replies the pages tell
    method: Method
    missing: str | None
    problems: tuple[str, ...]


def walk_day(archive: Archive, pages: DayPages, day: date, now: datetime) -> DayPosts:
    """Find the opening posts of a UTC ``day``; ``now`` is naive UTC.

    Raises:
        SourceError: the archive did not answer usably.
    """
    begin, end = midnight(day), midnight(day + DAY)
    found = Found()
    method: Method = "search"
    missing: str | None = walk_search(pages, day, found)
    if missing or not found.posts:
        method = "index"
        searchable = not found.posts and archive.finds_without_words()
        index_end = walk_index(pages, begin, end, now, found)
        # An index that ends later than an empty day says the same as a search that works and finds nothing of it.
        empty = searchable and index_end is IndexEnd.ENDED
        missing = None if index_end is IndexEnd.PASSED or empty else index_end
    everything = set_right(found.posts.values())
    newest = max((post.posted_at for post in everything), default=datetime.min)
    if missing is None and newest < end + SETTLED and (method == "index" or not archive.reaches(end + SETTLED)):
        missing = "the archive has nothing newer than this day yet; try again later"
    if missing is None and found.rejected:
        missing = f"{found.rejected} of its posts can not be read"
    posts = tuple(post for post in everything if begin <= post.posted_at < end)
    return DayPosts(posts, found.counts, method, missing, tuple(found.problems))
