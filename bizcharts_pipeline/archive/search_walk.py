"""The archive's search, turned page by page: the first way to a day."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import accumulate

from bizcharts_pipeline.archive.client import MAX_MATCHES, RESULTS_A_PAGE, Search
from bizcharts_pipeline.archive.page import ArchivePage
from bizcharts_pipeline.archive.page_store import DayPages, Found
from bizcharts_pipeline.core.clock import DAY, midnight

# Before this day the archive holds New York's wall time as if it were UTC, 4 or 5 hours too small, for some posts;
# since then it was right in 1,322 of 1,322. The archive sorts by what it holds.
TRUE_TIMES_SINCE = date(2025, 10, 1)
MAX_WRONG = timedelta(hours=6)
USUAL_SLACK = timedelta(hours=1)
_OUT_OF_ORDER = timedelta(minutes=2)


def walk_search(pages: DayPages, day: date, found: Found) -> str | None:
    """Add what the search finds, newest first, until posts from before the day's beginning have come.

    The dates are a day wider than the day, as the archive's midnight is that of another zone. Where no such posts
    come, at the archive's first days or at its most matches, the rest is looked for from the other side: it is
    complete if nothing is there either, or the two ways meet. Returns why something is missing, if anything is.
    """
    slack = MAX_WRONG if day < TRUE_TIMES_SINCE else USUAL_SLACK
    begin, end = midnight(day), midnight(day + DAY)

    def is_beyond(stored: datetime, falls: bool) -> bool:
        if not falls:
            return stored >= end
        wrong = any(post.corrected_by_seconds for post in found.posts.values())
        return stored < begin - (MAX_WRONG if wrong else slack)

    newest_first = Search(date_from=day - DAY, date_to=day + DAY, order="new")
    first = _walk(pages, newest_first, found, is_beyond, set())
    if first.reached_its_end:
        return None
    second = _walk(pages, replace(newest_first, order="old"), found, is_beyond, set(found.posts))
    if second.reached_its_end or (second.met and first.runs_against(second)) or not (first.pages or second.pages):
        return None
    return "the search stops before the day's end, in whatever order it is asked"


@dataclass
class _Walk:
    """How far the pages of one search led."""

    pages: int = 0  # with posts
    falls: bool = True  # no time above those before it
    rises: bool = True  # none below; of a single moment both hold
    reached_its_end: bool = False
    met: bool = False  # a page of posts that are all known from the other side

    def runs_against(self, other: "_Walk") -> bool:
        """Whether the two go through the day from different sides."""
        return (self.falls and other.rises) or (self.rises and other.falls)


def _walk(
    pages: DayPages, search: Search, found: Found, is_beyond: Callable[[datetime, bool], bool], known: set[int]
) -> _Walk:
    """Turn the pages of a search until all of one is beyond the day, or known, or nothing new comes.

    Which way it goes shows in the posts' times, whatever was asked for.
    """
    walk = _Walk()
    stored: list[datetime] = []
    seen: set[int] = set()
    short: int | None = None
    for offset in range(0, MAX_MATCHES, RESULTS_A_PAGE):
        page = pages.search(search, offset)
        if short is not None and page.posts:
            _look_again(pages, search, short, found)
        posts = [post for post in page.posts if not post.is_ghost]
        numbers = {post.number for post in posts}
        # The links to further pages are there past the end too, so they say nothing.
        if numbers <= seen:
            return walk
        found.add(page)
        seen |= numbers
        walk.pages += 1
        stored += [post.stored_at for post in posts]
        walk.falls, walk.rises = _falls(stored), _rises(stored)
        walk.met = (walk.falls or walk.rises) and numbers <= known
        if walk.falls != walk.rises:
            walk.reached_its_end = all(is_beyond(post.stored_at, walk.falls) for post in posts)
        if walk.met or walk.reached_its_end:
            return walk
        short = offset if _size(page) < RESULTS_A_PAGE else None
    return walk


def _look_again(pages: DayPages, search: Search, offset: int, found: Found) -> None:
    """Ask once more for a page that had too few results, though more came after it: it may have been cut short."""
    page = pages.search(search, offset, again=True)
    found.add(page)
    if _size(page) < RESULTS_A_PAGE:
        found.problems.append(f"results from {offset}: {_size(page)} of {RESULTS_A_PAGE}, though more follow")


def _size(page: ArchivePage) -> int:
    return len(page.posts) + page.rejected


def _rises(stored: list[datetime]) -> bool:
    """Whether times never fall far below the highest before them."""
    return all(high - time <= _OUT_OF_ORDER for time, high in zip(stored, accumulate(stored, max), strict=True))


def _falls(stored: list[datetime]) -> bool:
    return all(time - low <= _OUT_OF_ORDER for time, low in zip(stored, accumulate(stored, min), strict=True))
