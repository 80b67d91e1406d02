"""The Warosu archive on loopback: a world's threads with Fuuka's search, index and thread pages."""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import numpy as np

from bizcharts_pipeline.core.clock import from_epoch, naive_utc, to_epoch
from bizcharts_pipeline.demo.archive.markup import Generation, Html5, IndexEntry, Markup, image_path
from bizcharts_pipeline.demo.archive.posts import ArchivePost, Holdings, Integers, Quirks
from bizcharts_pipeline.demo.archive.search import MAX_MATCHES, PAGE_SIZE, Query, find, natural, read_query
from bizcharts_pipeline.demo.archive.xhtml import Xhtml
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.demo.server import HTML, BoardServer, Fault, Page, http_date
from bizcharts_pipeline.demo.world import World

THREADS_A_PAGE = 10
_LAST_REPLIES = 5
_REMEMBERED_SEARCHES = 32
_STEPS = (-96, -48, -24, 24, 48, 96)
_IMAGE = re.compile(r"/data/\w+/(?:img|thumb)/\d{4}/\d{2}/(\d{13}|\d{16})(s?)(\.jpg|\.png)")

GenerationOf = Callable[[datetime, int], Generation]
"""Chooses a page's generation by the time of its first post (without posts, now) and its number: the thread's, the
index page's (from 1) or the result page's (from 0)."""


class SimulatedArchive(BoardServer):
    """Serves an archive's view of ``world`` at :attr:`now`, a simulated time that its user may advance.

    An index page after the last one has no threads; a malformed page number, or one below 1, means the first page.
    Redirects are 302s. Building takes about three seconds for 36,000 threads and their replies.

    Args:
        now: later posts do not exist yet.
        generation: of the markup, or a function that chooses it for each page.
        clock: time zone of the midnights in date searches.
        order: of the index: newest thread first, or latest reply first.
        empty_text_finds_nothing: a search without any text has no results, even with dates.
        duplicate_every: after this many result pages, newest first, one new post is simulated, so that the next
            page repeats the last result of the previous one. No result is ever skipped. ``None``: no new posts.
        quirks: frequencies of defects.

    ``outages`` are pairs of simulated times, ``downtimes`` of ``time.monotonic()``, between which every answer is
    :attr:`outage_fault`.
    """

    def __init__(
        self,
        world: World,
        *,
        now: datetime,
        generation: Generation | GenerationOf = "B",
        board: str = "biz",
        clock: str = "America/New_York",
        order: Literal["thread", "bump"] = "thread",
        empty_text_finds_nothing: bool = False,
        duplicate_every: int | None = 10,
        quirks: Quirks = Quirks(),  # noqa: B008  (it is frozen)
    ) -> None:
        super().__init__(board)
        self.now: datetime = now
        self.world, self.generation, self.order = world, generation, order
        self.clock = ZoneInfo(clock)
        self.empty_text_finds_nothing, self.duplicate_every = empty_text_finds_nothing, duplicate_every
        self.outages: list[tuple[datetime, datetime]] = []
        self.downtimes: list[tuple[float, float]] = []
        self.outage_fault = Fault.UNAVAILABLE
        self._holdings = Holdings(world, quirks, world.start, _day_after(now))
        self._found: OrderedDict[object, Integers] = OrderedDict()

    @property
    def image_url(self) -> str:
        """Base address of the simulated archive's pictures; their paths begin with ``/data/``."""
        return self.url

    @property
    def holdings(self) -> Holdings:
        """The simulated archive's posts, rebuilt when :attr:`now` reaches a new day."""
        if naive_utc(self.now) >= self._holdings.until:
            old = self._holdings
            self._holdings = Holdings(self.world, old.quirks, self.world.start, _day_after(self.now))
        return self._holdings

    def ops_of_day(self, day: date) -> set[int]:
        """Return the numbers of the simulated archive's opening posts of a UTC day, by their true time."""
        now = naive_utc(self.now)
        of_day = (thread for thread in self.holdings.threads if thread.posted_at.date() == day)
        return {thread.thread_id for thread in of_day if thread.posted_at <= now}

    def posted_at(self, thread_id: int) -> datetime:
        """Return the true time (UTC) of an opening post; ``KeyError`` if the simulated archive lacks it."""
        return self.holdings.threads[self.holdings.place[thread_id]].posted_at

    def opening(self, thread_id: int) -> ArchivePost:
        """Return the simulated archive's data of an opening post; ``KeyError`` if it lacks the post."""
        position = self.holdings.position(thread_id)
        if position is None:
            raise KeyError(thread_id)
        return self.holdings.post(position)

    def replies(self, thread_id: int) -> int:
        """Return the number of replies of a thread in the simulated archive, ghost posts excluded; ``KeyError`` if the
        thread does not exist."""
        found = self.holdings.positions(self.holdings.place[thread_id], self._second)
        return int(np.sum(self.holdings.ghost[found] == 0)) - 1

    def outage(self) -> Fault | None:
        now, second = naive_utc(self.now), time.monotonic()
        down = any(begin <= now < end for begin, end in self.outages)
        return self.outage_fault if down or any(begin <= second < end for begin, end in self.downtimes) else None

    def page(self, path: str, query: str) -> Page | None:
        if path.startswith("/data/"):
            return self._picture_page(path)
        if not path.startswith(f"/{self.board}/"):
            return None
        values = dict(parse_qsl(query, keep_blank_values=True))
        match path.removeprefix(f"/{self.board}/").split("/"):
            case [""] if values.get("task") in ("search", "search2"):
                return self._search_page(read_query(query))
            case [""] if values.get("task") == "post":
                return self._post_page(values.get("post", ""))
            case [""]:
                return self._index_page(values.get("page", "1"), ghost=values.get("ghost", "") not in ("", "false"))
            case ["page", number]:
                return self._index_page(number)
            case ["thread" | "last50" as kind, number]:
                return self._thread_page(number, last=50 if kind == "last50" else None)
            case ["post", number]:
                return self._post_page(number)
        return None

    @property
    def _second(self) -> int:
        return math.floor(to_epoch(naive_utc(self.now)))

    def _markup(self, first: ArchivePost | None, number: int, *, ghost: bool = False) -> Markup:
        """Return the writer of a page with this first post and page number."""
        chosen = self.generation
        if not isinstance(chosen, str):
            chosen = chosen(from_epoch(first.posted) if first else naive_utc(self.now), number)
        return (Xhtml if chosen == "A" else Html5)(chosen, self.board, self.image_url, ghost=ghost)

    def _error(self, cause: str) -> Page:
        return _html(self._markup(None, 0).error(cause), status=404)

    def _search_page(self, query: Query) -> Page:
        if query.offset >= MAX_MATCHES:
            return self._error(f"offset out of bounds (offset={query.offset}, max_matches={MAX_MATCHES})")
        holdings, number = self.holdings, query.offset // PAGE_SIZE
        found = self._find(holdings, query)
        arrived = number // self.duplicate_every if self.duplicate_every else 0
        first = query.offset - (arrived if query.fields.get("search_ord") != "old" else 0)
        shown = found[first : first + min(PAGE_SIZE, MAX_MATCHES - query.offset)].tolist()
        posts = [holdings.post(position) for position in shown]
        ghost = query.fields.get("ghost", "") not in ("", "false")
        writer = self._markup(posts[0] if posts else None, number, ghost=ghost)
        fields = {"task": query.task, **query.fields}
        offsets = [(step, query.offset + step) for step in _STEPS if query.offset + step >= 0]
        steps = [
            (f"{step:+d}", f"/{self.board}/?{urlencode({**fields, 'offset': offset})}") for step, offset in offsets
        ]
        return _html(writer.results(query.title(), posts, steps))

    def _find(self, holdings: Holdings, query: Query) -> Integers:
        """Return all results of a search; cached for its next pages."""
        if self.empty_text_finds_nothing and query.is_empty:
            return np.zeros(0, dtype=np.int64)
        key = (query.key, self._second, self.clock)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = find(holdings, query, self._second, self.clock)
        with self._lock:
            self._found[key] = found
            while len(self._found) > _REMEMBERED_SEARCHES:
                self._found.popitem(last=False)
        return found

    def _index_page(self, text: str, *, ghost: bool = False) -> Page:
        number = natural(text) or 1
        holdings = self.holdings
        places = self._index_places(holdings, ghost=ghost)
        entries = [
            self._index_entry(holdings, place)
            for place in places[(number - 1) * THREADS_A_PAGE : number * THREADS_A_PAGE].tolist()
        ]
        steps = [(str(near), f"/{self.board}/?task=page&page={near}") for near in (number - 1, number + 1) if near > 0]
        writer = self._markup(entries[0].opening if entries else None, number, ghost=ghost)
        return _html(writer.index(entries, steps))

    def _index_places(self, holdings: Holdings, *, ghost: bool) -> Integers:
        """Return the places of the threads in the order of the index; in ghost mode, only threads with a ghost post."""
        key = ("index", self.order, ghost, self._second)
        with self._lock:
            if key in self._found:
                return self._found[key]
        there = holdings.posted <= self._second
        latest = np.full(len(holdings.threads), -1, dtype=np.int64)
        counted = there & (holdings.opening if self.order == "thread" else holdings.ghost == 0)
        np.maximum.at(latest, holdings.thread[counted], holdings.posted[counted])
        places = np.lexsort((np.arange(len(latest)), latest))[::-1]
        places = places[latest[places] >= 0]
        if ghost:
            places = places[np.isin(places, holdings.thread[there & (holdings.ghost > 0)])]
        with self._lock:
            self._found[key] = places
        return places

    def _index_entry(self, holdings: Holdings, place: int) -> IndexEntry:
        positions = holdings.positions(place, self._second).tolist()
        last = positions[1:][-_LAST_REPLIES:]
        posts = [holdings.post(position) for position in (positions[0], *last)]
        return IndexEntry(posts[0], posts[1:], len(positions) - len(posts))

    def _thread_page(self, text: str, last: int | None) -> Page:
        holdings = self.holdings
        place = holdings.place.get(natural(text.removeprefix("S")) or 0)
        positions: Sequence[int] = [] if place is None else holdings.positions(place, self._second).tolist()
        if place is None or not positions:
            return self._error(f"No such thread: {text[:40]}")
        opening = holdings.post(positions[0])
        replies = [holdings.post(position) for position in (positions[1:][-last:] if last else positions[1:])]
        writer = self._markup(opening, opening.thread_id, ghost=text.startswith("S"))
        shown = None if holdings.lacks_op[place] else opening
        return _html(writer.thread(shown, replies, opening.thread_id))

    def _post_page(self, text: str) -> Page:
        number, _, ghost = text.replace("_", ",").partition(",")
        holdings = self.holdings
        position = holdings.position(natural(number) or 0, natural(ghost) or 0)
        if position is None or holdings.posted[position] > self._second:
            return self._error(f"No such post: {text[:40]}")
        address = self._markup(None, 0).address(holdings.post(position))
        return Page(b"", HTML, status=302, location=address)

    def _picture_page(self, path: str) -> Page | None:
        shape = _IMAGE.fullmatch(path)
        found = self.holdings.with_file(shape[1], self._second) if shape else None
        if shape is None or found is None:
            return None
        post, thread = found
        extension, thumbnail = shape[3], shape[2] == "s"
        assert post.file is not None
        wanted = "s.jpg" if thumbnail else post.file.extension
        if path != image_path(self.board, post.thread_id, shape[1], wanted):
            return None
        if thumbnail and post.file.state == "no thumbnail":
            return None
        png = not thumbnail and extension == ".png"
        body = picture(thread, "thumbnail" if thumbnail else "PNG" if png else "JPEG")
        return Page(body, "image/png" if png else "image/jpeg", http_date(from_epoch(post.posted)))


def _day_after(moment: datetime) -> datetime:
    """Return the second midnight after ``moment``."""
    return datetime.combine(naive_utc(moment).date(), datetime.min.time()) + timedelta(days=2)


def _html(text: str, status: int = 200) -> Page:
    return Page(text.encode(), HTML, status=status)
