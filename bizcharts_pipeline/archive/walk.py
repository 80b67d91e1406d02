"""Enumeration of a day: all its opening posts in the archive, and whether the day is complete.

A response without posts is weak evidence, because the search engine sometimes fails. So a day counts as complete only
if posts from beyond both of its ends were seen, or the same posts from both directions.
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
from bizcharts_pipeline.archive.times import correct_times
from bizcharts_pipeline.core.clock import DAY, midnight

# A day's end is certain only with a post that much later: posts reach the archive minutes late.
SETTLED = timedelta(minutes=30)

Method = Literal["search", "index"]


@dataclass(frozen=True)
class DayPosts:
    """Posts found for a day. ``missing`` is why it is incomplete; ``None`` if it is complete."""

    posts: tuple[ArchivedPost, ...]
    counts: Mapping[int, Counts]  # of the threads with known reply counts
    method: Method
    missing: str | None
    problems: tuple[str, ...]


def walk_day(archive: Archive, pages: DayPages, day: date, now: datetime) -> DayPosts:
    """Find the archive's opening posts of a UTC ``day``; ``now`` is naive UTC.

    Raises:
        SourceError: the archive sent no usable response.
    """
    begin, end = midnight(day), midnight(day + DAY)
    found = Found()
    method: Method = "search"
    missing: str | None = walk_search(pages, day, found)
    if missing or not found.posts:
        method = "index"
        searchable = not found.posts and archive.finds_without_words()
        index_end = walk_index(pages, begin, end, now, found)
        # An index that ends after an empty day confirms a working search that finds nothing of it.
        empty = searchable and index_end is IndexEnd.ENDED
        missing = None if index_end is IndexEnd.PASSED or empty else index_end
    everything = correct_times(found.posts.values())
    newest = max((post.posted_at for post in everything), default=datetime.min)
    if missing is None and newest < end + SETTLED and (method == "index" or not archive.reaches(end + SETTLED)):
        missing = "the archive has no posts after this day yet; try again later"
    if missing is None and found.rejected:
        missing = f"{found.rejected} of its posts cannot be read"
    posts = tuple(post for post in everything if begin <= post.posted_at < end)
    return DayPosts(posts, found.counts, method, missing, tuple(found.problems))
