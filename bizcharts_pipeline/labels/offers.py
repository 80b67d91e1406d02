"""Order in which posts are offered to a labeller.

Two orders: that of ``label_queue``, or a random one. The random order is a fixed hash of the thread's number, seeded by
session and labeller: it does not depend on time or text, so the offers are a simple random sample of the filter
(stratum ``filter``); it is the same after a restart, and two labellers begin with different posts. Posts labelled by
anybody, or skipped by this labeller, are left out.

Already labelled posts are mixed in, unannounced, at random positions drawn with the same seed: the labeller's own older
ones (``relabel``, for self-agreement) and another labeller's (``shared``, for agreement between two). The queue
contains its own relabels, so none are added to it. With the option ``everything`` none are mixed in, because all posts
are offered anyway. A share can only be met while there are such posts.
"""

import hashlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import duckdb

from bizcharts_pipeline.core.clock import DAY, midnight
from bizcharts_pipeline.core.rows import Source
from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.warehouse.values import literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

ASKED_AGAIN = ("relabel", "disputed")  # strata of the queue with already labelled posts

_CANDIDATES = """
SELECT thread_id, (source = 'live')::UTINYINT AS live, (year(posted_at) * 12 + month(posted_at) - 1)::INTEGER AS month
FROM thread_ops WHERE {condition} ORDER BY thread_id
"""
_QUEUE = "SELECT thread_id, stratum, probability, built_at FROM label_queue ORDER BY position"


@dataclass(frozen=True)
class OfferFilters:
    """Filters of one labelling session; ``first`` and ``last`` are UTC days, both included."""

    labeller: str
    session: str
    source: Source | None = None
    first: date | None = None
    last: date | None = None
    queue: bool = False  # in the order of `label_queue`
    everything: bool = False  # include already labelled posts


@dataclass(frozen=True)
class Offer:
    """A post to label, and why it is offered, which the labeller does not see."""

    thread_id: int
    stratum: str
    probability: float | None = None


@dataclass(frozen=True)
class QueueEntry:
    """A row of ``label_queue``."""

    offer: Offer
    built_at: datetime


@dataclass(frozen=True)
class Candidates:
    """Every post that passes the filters, 13 bytes each.

    ``threads`` are ascending thread numbers; ``live`` and ``months`` (year · 12 + month − 1) have the same order.
    """

    threads: "NDArray[Any]"
    live: "NDArray[Any]"
    months: "NDArray[Any]"
    queue: tuple[QueueEntry, ...] = ()  # by position

    def places(self, threads: Collection[int]) -> "NDArray[Any]":
        """Return the indices of those of ``threads`` that are candidates for labelling."""
        import numpy as np

        wanted = np.fromiter(threads, dtype=np.int64, count=len(threads))
        if not len(self.threads):
            return self.threads
        places = np.minimum(np.searchsorted(self.threads, wanted), len(self.threads) - 1)
        found: NDArray[Any] = places[self.threads[places] == wanted]
        return found

    def among(self, threads: Collection[int]) -> list[int]:
        """Return those of ``threads`` that are candidates for labelling."""
        return [int(thread) for thread in self.threads[self.places(threads)]]


def load_candidates(connection: duckdb.DuckDBPyConnection, filters: OfferFilters) -> Candidates:
    """Load the candidates for labelling: 0.1 s for a million posts."""
    conditions = ["TRUE"]
    if filters.source:
        conditions.append(f"source = {literal(filters.source)}")
    if filters.first:
        conditions.append(f"posted_at >= {literal(midnight(filters.first))}")
    if filters.last:
        conditions.append(f"posted_at < {literal(midnight(filters.last) + DAY)}")
    found = connection.execute(_CANDIDATES.format(condition=" AND ".join(conditions))).fetchnumpy()
    queue = connection.execute(_QUEUE).fetchall() if filters.queue else []
    return Candidates(
        found["thread_id"],
        found["live"],
        found["month"],
        tuple(QueueEntry(Offer(thread, stratum, p), built_at) for thread, stratum, p, built_at in queue),
    )


@dataclass
class Deck:
    """The remaining offers of one session, in order. Not thread-safe.

    ``labels`` are the newest standing label of every labeller and post; the queue skips threads in ``gold``.
    """

    candidates: Candidates
    filters: OfferFilters
    settings: LabellingSettings
    labels: Iterable[Label]
    gold: Collection[int]
    now: datetime
    _planned: deque[Offer] = field(default_factory=deque)
    _taken: set[int] = field(default_factory=set)  # planned or decided: not offered again

    def __post_init__(self) -> None:
        mine, others = _by_labeller(self.labels, self.filters.labeller)
        self._seed = int.from_bytes(
            hashlib.sha256(f"{self.filters.session}\0{self.filters.labeller}".encode()).digest()[:8], "big"
        )
        self._draws = sum(label.session == self.filters.session for label in mine.values())
        rated_by_others = {thread for thread, label in others.items() if not label.skipped}
        self._taken = {thread for thread, label in mine.items() if label.session == self.filters.session}
        if self.filters.queue:
            fresh: Iterable[Offer] = self._fresh_queue(mine, rated_by_others)
        else:
            if not self.filters.everything:
                self._taken = set(mine) | rated_by_others
            fresh = self._random(self.candidates.threads)
        self._fresh = iter(fresh)
        self._left = self._count_left()
        shared = [] if self.filters.everything else sorted(rated_by_others - set(mine))
        self._shared = deque(self._random(self.candidates.among(shared)))
        self._relabels = deque(self._random(self.candidates.among(self._old_enough(mine))))
        if self.filters.everything or self.filters.queue:
            self._relabels.clear()

    @property
    def left(self) -> int:
        """The number of posts that the labeller still has to decide, without unannounced relabels and shared posts."""
        return self._left

    def upcoming(self, count: int) -> list[Offer]:
        """Return the next ``count`` posts to offer to the labeller, fewer at the end."""
        while len(self._planned) < count and (offer := self._draw()):
            self._planned.append(offer)
        return list(islice(self._planned, count))

    def decided(self, thread_id: int) -> None:
        """Remove a post that the labeller has decided from the deck."""
        for offer in self._planned:
            if offer.thread_id == thread_id:
                self._planned.remove(offer)
                self._left -= not self._is_extra(offer)
                break
        self._taken.add(thread_id)

    def put_back(self, offer: Offer) -> None:
        """Offer the labeller first a post whose decision was undone."""
        self.decided(offer.thread_id)
        self._planned.appendleft(offer)
        self._taken.add(offer.thread_id)
        self._left += not self._is_extra(offer)

    def find(self, thread_id: int) -> Offer | None:
        """Return the planned offer of a post to the labeller."""
        return next((offer for offer in self._planned if offer.thread_id == thread_id), None)

    def labelled_elsewhere(self, threads: Collection[int], keep: int) -> None:
        """Remove posts that another labeller has labelled meanwhile from the deck; the first ``keep`` are already on
        screen.
        """
        gone = [o for o in islice(self._planned, keep, None) if o.thread_id in threads and not self._is_again(o)]
        for offer in gone:
            self.decided(offer.thread_id)
        unplanned = [thread for thread in threads if thread not in self._taken]
        if not self.filters.queue:
            self._left -= len(self.candidates.places(unplanned))
            self._taken.update(unplanned)

    def _draw(self) -> Offer | None:
        """Draw the next offer: a relabel, a shared post, or the next of the order."""
        chance = _mixed_number(self._seed, self._draws) / 2**64
        relabel = self.settings.relabel_share
        if chance < relabel and self._relabels:
            offer = Offer(self._relabels.popleft().thread_id, "relabel")
        elif relabel <= chance < relabel + self.settings.shared_share and self._shared:
            offer = Offer(self._shared.popleft().thread_id, "shared")
        else:
            found = next((offer for offer in self._fresh if offer.thread_id not in self._taken), None)
            if found is None:
                return None
            offer = found
        self._draws += 1
        self._taken.add(offer.thread_id)
        return offer

    def _random(self, threads: "NDArray[Any] | Sequence[int]") -> Iterable[Offer]:
        import numpy as np

        threads = np.asarray(threads, dtype=np.int64)
        for place in np.argsort(_mixed(threads, self._seed), kind="stable"):
            yield Offer(int(threads[place]), "filter")

    def _fresh_queue(self, mine: dict[int, Label], rated_by_others: set[int]) -> list[Offer]:
        """Return the remaining offers of the queue; posts in it may have been decided since it was built."""
        known = set(self.candidates.among({entry.offer.thread_id for entry in self.candidates.queue}))
        old_enough = self._old_enough(mine)
        offers = []
        for entry in self.candidates.queue:
            thread = entry.offer.thread_id
            own = mine.get(thread)
            if entry.offer.stratum not in ASKED_AGAIN:
                wanted = own is None and thread not in rated_by_others
            elif entry.offer.stratum == "relabel":
                wanted = own is None or thread in old_enough
            else:
                wanted = own is None or own.labeled_at < entry.built_at
            if thread in known and thread not in self.gold and (wanted or self.filters.everything):
                offers.append(entry.offer)
        return offers

    def _old_enough(self, mine: dict[int, Label]) -> set[int]:
        before = self.now - timedelta(days=self.settings.relabel_after_days)
        return {thread for thread, label in mine.items() if not label.skipped and label.labeled_at <= before}

    def _is_extra(self, offer: Offer) -> bool:
        return offer.stratum == "shared" or (offer.stratum == "relabel" and not self.filters.queue)

    def _is_again(self, offer: Offer) -> bool:
        return self.filters.everything or offer.stratum in (*ASKED_AGAIN, "shared")

    def _count_left(self) -> int:
        if self.filters.queue:
            offers = list(self._fresh)
            self._fresh = iter(offers)
            return len(offers)
        return len(self.candidates.threads) - len(self.candidates.places(self._taken))


def _by_labeller(labels: Iterable[Label], labeller: str) -> tuple[dict[int, Label], dict[int, Label]]:
    """Return two dictionaries by thread: this labeller's labels, and one of the others' each, preferring ratings to
    skips.
    """
    mine: dict[int, Label] = {}
    others: dict[int, Label] = {}
    for label in labels:
        if label.labeler_id == labeller:
            mine[label.thread_id] = label
        elif label.thread_id not in others or others[label.thread_id].skipped:
            others[label.thread_id] = label
    return mine, others


def _mixed(numbers: "NDArray[Any]", seed: int) -> "NDArray[Any]":
    """Return a 64-bit hash of each number: SplitMix64 (Steele, Lea, Flood 2014) of number xor seed."""
    import numpy as np

    with np.errstate(over="ignore"):
        x = (numbers.astype(np.uint64) ^ np.uint64(seed)) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mixed_number(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
