"""The week that is judged, the weeks before it that it is compared with, and earlier weeks judged in the same way.

The earlier weeks say how much a week differs from the weeks before it while nothing is wrong: topics, news and moods
come and go, so that single posts are no measure of chance. Each of them has a reference of the same length, which lies
before it, like the present week's. Two weeks lie between each week and its reference, so that a change that began some
days ago is neither in the reference nor in the earlier weeks yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bizcharts_pipeline.drift.panel import Panel

WEEK = 7
GAP_WEEKS = 2  # between a week and its reference
GAP = GAP_WEEKS * WEEK
MAX_WEEKS = 18  # before the gap: eight of reference, eight judged as earlier weeks, and the gap between these
MIN_WEEKS = 10
MIN_EARLIER = 4  # earlier weeks with enough posts
MIN_POSTS = 100  # of a week
HISTORY_DAYS = MAX_WEEKS * WEEK + GAP + WEEK  # that a report reads, without those of a frozen reference


@dataclass(frozen=True)
class Window:
    """A week and its reference, as days of a panel; ends are exclusive."""

    first: int
    end: int
    reference_first: int
    reference_end: int


@dataclass(frozen=True)
class Windows:
    """The week to be judged, and the earlier ones in the same way, the newest first."""

    present: Window
    earlier: tuple[Window, ...]


def windows_of(panel: Panel, end: int, reference_until: int | None = None) -> Windows | str:
    """Return the windows of the panel for the week before day ``end``, or the reason why there are too few posts.

    ``reference_until``: the day before which the reference has to end, if that is earlier than usual.
    """
    first = end - WEEK
    until = first - GAP if reference_until is None else min(first - GAP, reference_until)
    begun = next((day for day in range(panel.days) if panel.starts[day + 1] > panel.starts[day]), panel.days)
    weeks = min(MAX_WEEKS, max(0, until - begun) // WEEK)
    if weeks < MIN_WEEKS:
        return f"scored posts reach back {weeks} weeks before the last {1 + GAP_WEEKS} weeks; {MIN_WEEKS} are needed"
    length = (weeks - GAP_WEEKS) // 2
    present = Window(first, end, until - length * WEEK, until)
    if (posts := _count(panel, present.first, present.end)) < MIN_POSTS:
        return f"the week has {posts} scored posts; {MIN_POSTS} are needed"
    earlier = tuple(_earlier(panel, until, length, weeks - GAP_WEEKS - length))
    if len(earlier) < MIN_EARLIER:
        return f"{len(earlier)} earlier weeks have {MIN_POSTS} scored posts and a reference; {MIN_EARLIER} are needed"
    return Windows(present, earlier)


def _earlier(panel: Panel, until: int, length: int, count: int) -> Iterator[Window]:
    for back in range(1, count + 1):
        first = until - back * WEEK
        window = Window(first, first + WEEK, first - GAP - length * WEEK, first - GAP)
        enough = _count(panel, window.reference_first, window.reference_end) >= MIN_POSTS * MIN_EARLIER
        if enough and _count(panel, window.first, window.end) >= MIN_POSTS:
            yield window


def _count(panel: Panel, first: int, end: int) -> int:
    return int(panel.starts[end] - panel.starts[first])
