"""Enumerating a day: every opening post of it that the archive has, and whether its end was seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal

from bizcharts_pipeline.archive.asking import Archive
from bizcharts_pipeline.archive.index_walk import walk_index
from bizcharts_pipeline.archive.pages import DayPages, Found
from bizcharts_pipeline.archive.times import set_right
from bizcharts_pipeline.clock import midnight
from bizcharts_pipeline.sources.warosu import MAX_MATCHES, RESULTS_A_PAGE, Search
from bizcharts_pipeline.sources.warosu_page import ArchivedPost, Counts

DAY = timedelta(days=1)
# Before this day the archive holds New York's wall time as if it were UTC, 4 or 5 hours too small, for some posts;
# since then it was right in 1,322 of 1,322. The archive sorts by what it holds.
TRUE_TIMES_SINCE = date(2025, 10, 1)
MOST_WRONG = timedelta(hours=6)
USUAL_SLACK = timedelta(hours=1)
# For so long after a day the archive may not have got to its end yet.
SETTLES_AFTER = timedelta(days=3)
_OUT_OF_ORDER = timedelta(minutes=2)
_IDLE_PAGES = 2


@dataclass(frozen=True)
class DayPosts:
    """What was found of a day. ``missing`` says why it is not complete; ``None``: it is, its end was seen."""

    posts: tuple[ArchivedPost, ...]
    counts: Mapping[int, Counts]  # of the threads whose replies the pages tell
    method: Literal["search", "index"]
    missing: str | None
    problems: tuple[str, ...]


def walk_day(archive: Archive, pages: DayPages, day: date, now: datetime) -> DayPosts:
    """Find the opening posts of a UTC ``day``; ``now`` is naive UTC.

    Raises:
        SourceError: the archive did not answer usably.
    """
    begin, end = midnight(day), midnight(day + DAY)
    found = Found()
    method: Literal["search", "index"] = "search"
    missing = walk_search(pages, day, found)
    if not found.posts and not archive.finds_without_words:
        method = "index"
        missing = walk_index(pages, begin, end, found)
    everything = set_right(found.posts.values())
    passed = any(post.posted_at >= end for post in everything)
    if missing is None and not passed and now < end + SETTLES_AFTER and not archive.has_posts_after(end):
        missing = "the archive has nothing newer than this day yet; try again later"
    posts = tuple(post for post in everything if begin <= post.posted_at < end)
    return DayPosts(posts, found.counts, method, missing, tuple(found.problems))


def walk_search(pages: DayPages, day: date, found: Found) -> str | None:
    """Add what the search finds, newest first, until the day's beginning has been passed.

    The dates are a day wider than the day, as the archive's midnight is that of another zone. Where the archive stops
    at its most matches, the rest comes from the other side. Returns why something is missing, if anything is.
    """
    slack = MOST_WRONG if day < TRUE_TIMES_SINCE else USUAL_SLACK
    begin, end = midnight(day), midnight(day + DAY)

    def is_before(stored: datetime) -> bool:
        wrong = any(post.corrected_by_seconds for post in found.posts.values())
        return stored < begin - (MOST_WRONG if wrong else slack)

    newest_first = Search(date_from=day - DAY, date_to=day + DAY, order="new")
    if _walk(pages, newest_first, found, is_before):
        return None
    if _walk(pages, replace(newest_first, order="old"), found, lambda stored: stored >= end):
        return None
    return f"more than {2 * MAX_MATCHES:,} matches; the archive gives no more than {MAX_MATCHES:,} a search"


def _walk(pages: DayPages, search: Search, found: Found, passed: Callable[[datetime], bool]) -> bool:
    """Turn the pages of a search until nothing new comes or all of a page has ``passed``; whether its end was seen."""
    stored: list[datetime] = []
    seen = set(found.posts)
    idle = 0
    for offset in range(0, MAX_MATCHES, RESULTS_A_PAGE):
        page = pages.search(search, offset)
        found.add(page)
        posts = [post for post in page.posts if not post.is_ghost]
        idle = 0 if any(post.number not in seen for post in posts) else idle + 1
        seen.update(post.number for post in posts)
        # The links to further pages are there past the end too, so they say nothing.
        if not page.posts or idle == _IDLE_PAGES:
            return True
        stored += [post.stored_at for post in posts]
        if posts and _sorted(stored, search.order) and all(passed(post.stored_at) for post in posts):
            return True
    return False


def _sorted(stored: list[datetime], order: Literal["new", "old"]) -> bool:
    """Whether the archive gives the order that was asked for; only then does a passed page mean the end."""
    sign = 1 if order == "old" else -1
    return all(sign * (later - earlier) >= -_OUT_OF_ORDER for earlier, later in pairwise(stored))
