"""The archive's index pages: the way to a day where the search finds nothing without words.

They run from the newest thread to the oldest, ordered by thread or by latest reply, which the archive does not say.
Neither order strays by more than a thread's life, so the pages of a day lie together and can be found by halving.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from bizcharts_pipeline.archive.page import ArchivePage
from bizcharts_pipeline.archive.page_store import DayPages, Found

LONGEST_LIFE = timedelta(days=4)  # from a thread's first post to its last on a board that moves
MARGIN = timedelta(days=1)
LAST_PAGE = 1_000_000
_PAGES_BEYOND = 3  # in a row wholly before the day, before it counts as passed


class IndexEnd(StrEnum):
    """How a walk through the index ended; each but the first is why something may be missing."""

    PASSED = "the day was passed"
    ENDED = "the index ends before the day does"
    NOTHING = "the index gives nothing"
    MOVES = "the index goes by latest reply, so the threads of this day still move in it; try again in some days"
    ENDLESS = "the end of the day was not seen in the index"


def walk_index(pages: DayPages, begin: datetime, end: datetime, now: datetime, found: Found) -> IndexEnd:
    """Add the opening posts of the index pages around [``begin``, ``end``) to ``found``; times are naive UTC.

    Raises:
        SourceError: the archive did not answer usably.
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
    """Whether the pages go by thread; by latest reply, thirty threads would hardly ever stand so."""
    numbers = [post.number for page in (2, 3, 4) for post in pages.index(page).posts if post.is_op]
    return numbers == sorted(numbers, reverse=True)


def _first_page_before(pages: DayPages, moment: datetime) -> int:
    """Return the first page whose threads are typically before ``moment``, by doubling and halving."""

    def is_before(number: int) -> bool:
        page = pages.index(number)
        return not page.posts or _typical(page) < moment

    high = 1
    while high < LAST_PAGE and not is_before(high):
        high *= 2
    low = high // 2  # is not before, or is no page
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_before(middle) else (middle, high)
    return high


def _typical(page: ArchivePage) -> datetime:
    """Return the median time of the page's opening posts: a pinned thread of years ago does not move it."""
    times = sorted(post.posted_at for post in page.posts if post.is_op) or [post.posted_at for post in page.posts]
    return times[len(times) // 2]


def _newest_thread(page: ArchivePage) -> datetime:
    return max((post.posted_at for post in page.posts if post.is_op), default=datetime.min)


def _newest_post(page: ArchivePage) -> datetime:
    return max(post.posted_at for post in page.posts)
