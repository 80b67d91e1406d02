"""Walk through the archive's search pages: the first choice for a day."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import accumulate

from bizcharts_pipeline.archive.client import MAX_MATCHES, RESULTS_A_PAGE, Search
from bizcharts_pipeline.archive.page import ArchivePage
from bizcharts_pipeline.archive.page_store import DayPages, Found
from bizcharts_pipeline.core.clock import DAY, midnight

# Before this day the archive has New York's local time stored as UTC, 4 or 5 hours too early, for some posts; since
# then it was right in 1,322 of 1,322. The archive sorts by the stored time.
TRUE_TIMES_SINCE = date(2025, 10, 1)
MAX_WRONG = timedelta(hours=6)
USUAL_SLACK = timedelta(hours=1)
_OUT_OF_ORDER = timedelta(minutes=2)


def walk_search(pages: DayPages, day: date, found: Found) -> str | None:
    """Add the archive's search results, newest first, to ``found`` until posts from before the day's beginning appear.

    The range of dates is one day wider than the day, because the archive's midnight is that of another time zone. If no
    such posts appear (at the archive's first days, or at its maximum of matches), the rest is searched in the opposite
    order: the day is complete if that finds nothing either, or if the two walks meet. Returns why posts may be missing,
    or ``None``.
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
    return "the search stops before the day's end, in either order"


@dataclass
class _Walk:
    """Progress through the pages of one search."""

    pages: int = 0  # with posts
    falls: bool = True  # times are descending
    rises: bool = True  # times are ascending; a single time is both
    reached_its_end: bool = False
    met: bool = False  # all posts of a page are known from the opposite walk

    def runs_against(self, other: "_Walk") -> bool:
        """Whether the two walks over the archive's search results have opposite directions."""
        return (self.falls and other.rises) or (self.rises and other.falls)


def _walk(
    pages: DayPages, search: Search, found: Found, is_beyond: Callable[[datetime, bool], bool], known: set[int]
) -> _Walk:
    """Read the pages of a search until one is entirely beyond the day, or known, or has nothing new.

    The direction is detected from the posts' times, because the archive may ignore the requested order.
    """
    walk = _Walk()
    stored: list[datetime] = []
    seen: set[int] = set()
    short: int | None = None
    for offset in range(0, MAX_MATCHES, RESULTS_A_PAGE):
        page = pages.search(search, offset)
        if short is not None and page.posts:
            _read_again(pages, search, short, found)
        posts = [post for post in page.posts if not post.is_ghost]
        numbers = {post.number for post in posts}
        # Links to further pages exist past the end too, so they are no evidence.
        if numbers <= seen:
            return walk
        found.add(page)
        seen |= numbers
        walk.pages += 1
        stored += [post.stored_at for post in posts]
        walk.falls, walk.rises = _is_descending(stored), _is_ascending(stored)
        walk.met = (walk.falls or walk.rises) and numbers <= known
        if walk.falls != walk.rises:
            walk.reached_its_end = all(is_beyond(post.stored_at, walk.falls) for post in posts)
        if walk.met or walk.reached_its_end:
            return walk
        short = offset if _size(page) < RESULTS_A_PAGE else None
    return walk


def _read_again(pages: DayPages, search: Search, offset: int, found: Found) -> None:
    """Request a page again that had too few results although more followed: it may have been truncated."""
    page = pages.search(search, offset, again=True)
    found.add(page)
    if _size(page) < RESULTS_A_PAGE:
        found.problems.append(f"results from {offset}: {_size(page)} of {RESULTS_A_PAGE}, although more follow")


def _size(page: ArchivePage) -> int:
    return len(page.posts) + page.rejected


def _is_ascending(stored: list[datetime]) -> bool:
    """Whether no time is far below the maximum of those before it."""
    return all(high - time <= _OUT_OF_ORDER for time, high in zip(stored, accumulate(stored, max), strict=True))


def _is_descending(stored: list[datetime]) -> bool:
    return all(time - low <= _OUT_OF_ORDER for time, low in zip(stored, accumulate(stored, min), strict=True))
