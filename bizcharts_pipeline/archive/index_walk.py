"""Walk through the archive's index pages: the fallback if a search without words finds nothing.

The pages run from the newest thread to the oldest, ordered by thread or by latest reply; the archive does not document
which. Neither order deviates by more than a thread's lifetime, so the pages of a day are adjacent and can be found by
bisection.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from bizcharts_pipeline.archive.page import ArchivePage
from bizcharts_pipeline.archive.page_store import DayPages, Found

LONGEST_LIFE = timedelta(days=4)  # from a thread's first post to its last on a fast board
MARGIN = timedelta(days=1)
LAST_PAGE = 1_000_000
_PAGES_BEYOND = 3  # consecutive pages entirely before the day until it counts as passed


class IndexEnd(StrEnum):
    """How a walk through the index ended; each but the first is a reason why posts may be missing."""

    PASSED = "the day was passed"
    ENDED = "the index ends before the day does"
    NOTHING = "the index is empty"
    MOVES = "the index is ordered by latest reply, so this day's threads still change places; try again in some days"
    ENDLESS = "the end of the day was not found in the index"


def walk_index(pages: DayPages, begin: datetime, end: datetime, now: datetime, found: Found) -> IndexEnd:
    """Add the opening posts of the archive's index pages around [``begin``, ``end``) to ``found``; times are naive UTC.

    Raises:
        SourceError: the archive sent no usable response.
    """
    newest = pages.index(1)
    if not newest.posts:
        return IndexEnd.NOTHING
    found.add(newest)
    by_thread = _in_thread_order(pages)
    if not by_thread and now < end + LONGEST_LIFE:
        return IndexEnd.MOVES
    strays = MARGIN if by_thread else LONGEST_LIFE + MARGIN
    latest = _newest_thread if by_thread else _newest_post
    beyond, passed = 0, False
    for number in range(_first_page_before(pages, end + strays), LAST_PAGE):
        page = pages.index(number)
        if not page.posts:
            return IndexEnd.PASSED if passed else IndexEnd.ENDED
        found.add(page)
        passed = passed or latest(page) < begin
        beyond = beyond + 1 if latest(page) < begin - MARGIN else 0
        if beyond == _PAGES_BEYOND:
            return IndexEnd.PASSED
    return IndexEnd.ENDLESS


def _in_thread_order(pages: DayPages) -> bool:
    """Whether the pages are ordered by thread; by latest reply, this order would be very improbable."""
    numbers = [post.number for page in (2, 3, 4) for post in pages.index(page).posts if post.is_op]
    return numbers == sorted(numbers, reverse=True)


def _first_page_before(pages: DayPages, moment: datetime) -> int:
    """Return the first page whose threads are typically before ``moment``, by doubling and bisection."""

    def is_before(number: int) -> bool:
        page = pages.index(number)
        return not page.posts or _typical(page) < moment

    high = 1
    while high < LAST_PAGE and not is_before(high):
        high *= 2
    low = high // 2  # not before ``moment``, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_before(middle) else (middle, high)
    return high


def _typical(page: ArchivePage) -> datetime:
    """Return the median time of the page's opening posts, which an old pinned thread does not affect."""
    times = sorted(post.posted_at for post in page.posts if post.is_op) or [post.posted_at for post in page.posts]
    return times[len(times) // 2]


def _newest_thread(page: ArchivePage) -> datetime:
    return max((post.posted_at for post in page.posts if post.is_op), default=datetime.min)


def _newest_post(page: ArchivePage) -> datetime:
    return max(post.posted_at for post in page.posts)
