"""One labeller's session: posts to label, labels made, undo.

Everything is in memory except the ledger, which is written before a call returns. Only the :mod:`reader
<bizcharts_pipeline.web.reader>` opens the database, so labelling never waits for it.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.images.nsfw import is_blurred
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.images.structure import EXTENSIONS, MediaType
from bizcharts_pipeline.labels.corpus import Picture, Post
from bizcharts_pipeline.labels.ledger import Flag, Label, LabelLedger
from bizcharts_pipeline.labels.offer_posts import OfferedPost, progress
from bizcharts_pipeline.labels.offers import Candidates, Deck, Offer, OfferFilters
from bizcharts_pipeline.labels.statistics import IDLE_SECONDS, streak
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.web import notices

SHOWN_AHEAD = 11  # the post on the screen and the next ten
READY = 400  # posts kept ready for a database that is busy for long
REFILL_BELOW = 300
REMEMBERED = 200  # decided posts whose text and picture are loaded again after a restart
CLOCK_TOLERANCE = timedelta(days=1)
ORIGIN = "labeller"

_MEDIA_TYPES: dict[str, MediaType] = {f".{ending}": media_type for media_type, ending in EXTENSIONS.items()}


class NotOffered(BizchartsError):
    """A label is invalid: the post was not offered, the values are inconsistent, or the page is outdated."""


@dataclass(frozen=True)
class Decision:
    """One labelling decision from the page."""

    thread_id: int
    labeled_at: datetime  # naive UTC; set by the page, so that a repeated request is one label
    rating: int | None  # None: skipped
    seconds: float | None
    flag: Flag | None
    notes: str | None
    saw_suggestion: bool
    image_visible: bool | None  # the post's image was shown uncovered; None: unknown
    keys: int  # number of standing labels known to the page


class LabelSession:
    """One labeller's session: posts to label, labels made, undo. Thread-safe."""

    def __init__(
        self, settings: Settings, filters: OfferFilters, ledger: LabelLedger, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings, self.filters, self._ledger, self._clock = settings, filters, ledger, clock
        self.wake = threading.Event()  # set when the reader has work
        self.problem: str | None = None  # why the database cannot be read at present
        self._writing = threading.Lock()  # serializes writes to the ledger without blocking readers of the session
        self._lock = threading.RLock()
        self._store = PictureStore(settings.home_path)
        self._posts: dict[int, OfferedPost] = {}
        self._gone: set[int] = set()
        self._deck: Deck | None = None
        self._taken_back: dict[int, Label] = {}
        standing = ledger.standing()
        self._written = ledger.count()
        own = [label for label in standing if label.labeler_id == filters.labeller]
        self._imported = [label for label in own if label.origin != ORIGIN]
        self._decided = [label for label in own if label.origin == ORIGIN]  # in the order of the decisions
        self._illegal = {label.thread_id for label in standing if label.flag == "illegal"}
        self._to_delete = set(self._illegal)
        self._hidden_hashes: set[str] = set()

    # Called by the page

    def view(self) -> dict[str, Any]:
        """Return the posts that the labelling page shows next, and the labeller's progress."""
        with self._lock:
            now = self._clock()
            ready = self._ready()
            return {
                "now": now.isoformat(timespec="milliseconds"),
                "state": self._state(ready),
                "notice": self._notice(ready),
                "upcoming": [
                    self._shown(post, self._earlier_label(post.post.thread_id)) for post in ready[:SHOWN_AHEAD]
                ],
                "progress": self._progress(now, len(ready)),
            }

    def decide(self, decision: Decision) -> dict[str, Any]:
        """Write a label from the labelling page durably, then return the next view. Repeating the same decision
        changes nothing.

        Raises:
            NotOffered: the post is neither offered nor decided, the decision is inconsistent, or the page is outdated.
            LedgerError: it could not be written.
        """
        with self._writing:
            with self._lock:
                if self._is_written(decision):
                    return self.view()
                self._check_keys(decision.keys)
                label = self._label(decision)
            new = self._ledger.append([label])
            with self._lock:
                if new:
                    self._written += 1
                    self._decided.append(label)
                    self._taken_back.pop(label.thread_id, None)
                    if label.flag == "illegal":
                        self._hide(label.thread_id)
                    if self._deck:
                        self._deck.decided(label.thread_id)
                    self.wake.set()
                return self.view()

    def undo(self, keys: int) -> dict[str, Any]:
        """Take back the last label from the labelling page; return the next view. ``keys`` is the number of standing
        labels known to the page.

        Raises:
            NotOffered: the number is wrong.
            LedgerError: it could not be written.
        """
        with self._writing:
            with self._lock:
                self._check_keys(keys)
            label = self._ledger.undo(self.filters.labeller, self._clock(), ORIGIN)
            with self._lock:
                if label:
                    self._forget(label)
                    self._taken_back[label.thread_id] = label
                    if self._deck:
                        self._deck.put_back(Offer(label.thread_id, label.stratum or "filter", label.probability))
                    self.wake.set()
                return {**self.view(), "undone": label and label.thread_id}

    def history(self, before: int, count: int) -> dict[str, Any]:
        """Return for the labelling page ``count`` decided posts, newest first, after skipping ``before``; each post
        once."""
        with self._lock:
            newest: dict[int, Label] = {}
            for label in reversed(self._decided):
                newest.setdefault(label.thread_id, label)
            labels = islice(newest.values(), before, before + count)
            return {"posts": [self._shown(self._remembered(label), label) for label in labels]}

    def strata(self) -> list[dict[str, Any]]:
        """Return for the labelling page the progress of each month and source."""
        with self._lock:
            candidates = self._deck.candidates if self._deck else None
            labels = [*self._imported, *self._decided]
        if candidates is None:
            return []
        return [
            {"month": row.month, "source": row.source, "posts": row.posts, "target": row.target, "done": row.done}
            for row in progress(candidates, labels, self.settings.labelling.target)
        ]

    def picture(self, thread_id: int) -> tuple[Path, MediaType] | None:
        """Return for the labelling page the file of a post's picture, if it may be shown and its row names a file in
        the store."""
        with self._lock:
            offered = self._posts.get(thread_id)
            picture = offered.post.picture if offered else None
            if picture is None or picture.status != "stored" or self._is_hidden(thread_id, picture):
                return None
        media_type = _MEDIA_TYPES.get(Path(picture.path or "").suffix)
        if media_type is None or picture.sha256 is None:
            return None
        try:
            path = self._store.path(picture.sha256, media_type)
        except ValueError:
            return None
        return (path, media_type) if path == self._store.home / (picture.path or "") else None

    # Called by the reader

    def deal(self, candidates: Candidates) -> None:
        """Replace the deck of the labelling session by one of the current candidates in the database."""
        gold = [post.thread_id for post in self._ledger.gold()] if self.filters.queue else []
        known = len(self._decided)
        newest, written = self._ledger.newest(), self._ledger.count()
        deck = Deck(candidates, self.filters, self.settings.labelling, newest, set(gold), self._clock())
        deck.upcoming(SHOWN_AHEAD)
        with self._lock:
            for label in self._decided[known:]:
                deck.decided(label.thread_id)
            for label in self._taken_back.values():
                deck.put_back(Offer(label.thread_id, label.stratum or "filter", label.probability))
            self._deck, self._written = deck, written

    def drop_labelled_by_others(self) -> None:
        """Remove posts from the deck that other labellers have labelled meanwhile."""
        if self._ledger.count() == self._written:
            return
        newest, written = self._ledger.newest(), self._ledger.count()
        threads = {x.thread_id for x in newest if x.labeler_id != self.filters.labeller and not x.skipped}
        with self._lock:
            if self._deck:
                self._deck.labelled_elsewhere(threads, SHOWN_AHEAD)
            self._written = written

    def wanted(self) -> list[int]:
        """Return the threads whose posts to load for the labelling page: upcoming ones if few are ready, then recently
        decided ones."""
        with self._lock:
            offers = self._deck.upcoming(READY) if self._deck else []
            ahead = [offer.thread_id for offer in offers]
            known = self._posts.keys() | self._gone
            missing = [thread for thread in ahead if thread not in known]
            if len(ahead) - len(missing) >= REFILL_BELOW:
                missing = []
            back = dict.fromkeys(label.thread_id for label in reversed(self._decided[-REMEMBERED:]))
            return [*missing, *(thread for thread in back if thread not in known)]

    def accept(self, requested: Iterable[int], posts: Iterable[OfferedPost]) -> None:
        """Store posts loaded for the labelling page; requested threads that are not among them no longer exist."""
        with self._lock:
            for offered in posts:
                self._posts[offered.post.thread_id] = offered
                picture = offered.post.picture
                if offered.post.thread_id in self._illegal and picture and picture.sha256:
                    self._hidden_hashes.add(picture.sha256)
            for thread in requested:
                if thread not in self._posts:
                    self._gone.add(thread)
                    if self._deck and thread not in self._taken_back:
                        self._deck.decided(thread)

    def is_exhausted(self) -> bool:
        """Whether the deck of the labelling session is empty."""
        with self._lock:
            return self._deck is None or not self._deck.upcoming(1)

    def to_delete(self) -> list[int]:
        """Return the threads flagged on the labelling page whose pictures are to be deleted."""
        with self._lock:
            return sorted(self._to_delete)

    def deleted(self, thread_id: int) -> None:
        """Record in the labelling session that a thread's pictures were deleted."""
        with self._lock:
            self._to_delete.discard(thread_id)

    # Called with the lock held

    def _ready(self) -> list[OfferedPost]:
        ready = []
        for offer in self._deck.upcoming(READY) if self._deck else []:
            offered = self._known(offer.thread_id, self._taken_back.get(offer.thread_id))
            if offered is None:
                break
            ready.append(offered)
        return ready

    def _state(self, ready: list[OfferedPost]) -> str:
        if ready:
            return "ready"
        return "waiting" if self._deck is None or self._deck.upcoming(1) else "finished"

    def _is_written(self, decision: Decision) -> bool:
        """Whether the decision was already written, for a page that did not get the response."""
        key = decision.thread_id, decision.labeled_at
        return any((label.thread_id, label.labeled_at) == key for label in reversed(self._decided))

    def _check_keys(self, keys: int) -> None:
        if keys != len(self._decided):
            raise NotOffered("A post was labelled in another tab meanwhile; this is the current state.")

    def _notice(self, ready: list[OfferedPost]) -> notices.Notice | None:
        if ready:
            return None
        if self._deck is None or self._deck.upcoming(1):
            return notices.waiting(self.problem)
        return notices.finished(self.filters, self._deck.candidates)

    def _label(self, decision: Decision) -> Label:
        thread = decision.thread_id
        offer = self._deck.find(thread) if self._deck else None
        former = next((label for label in reversed(self._decided) if label.thread_id == thread), None)
        source = offer or former
        if source is None:
            raise NotOffered(f"Thread {thread} was not offered; reload the page.")
        if abs(decision.labeled_at - self._clock()) > CLOCK_TOLERANCE:
            raise NotOffered("The page's clock is more than a day off; reload the page.")
        if decision.flag == "illegal" and decision.rating is not None:
            raise NotOffered("A post flagged as illegal must be skipped.")
        offered = self._known(thread, self._taken_back.get(thread) or former)
        if offered is None:
            raise NotOffered(f"Thread {thread} has not been shown; reload the page.")
        post = offered.post
        shows_picture = post.picture is not None and decision.flag != "illegal"
        at = decision.labeled_at
        if former and at < former.labeled_at:
            at = former.labeled_at + timedelta(microseconds=1)  # the clock was set back; the newest decision counts
        return Label(
            thread_id=thread,
            sentiment_rating=decision.rating,
            labeler_id=self.filters.labeller,
            labeled_at=at,
            seconds=decision.seconds,
            skipped=decision.rating is None,
            notes=decision.notes,
            text_snapshot=post.text,
            image_url_snapshot=post.picture.url if post.picture and shows_picture else None,
            posted_at=post.posted_at,
            subject_snapshot=post.subject,
            flag=decision.flag,
            session=self.filters.session,
            stratum=source.stratum,
            probability=source.probability,
            suggestion=offered.suggestion if decision.saw_suggestion else None,
            image_visible=decision.image_visible if post.picture else None,
        )

    def _forget(self, label: Label) -> None:
        for place in range(len(self._decided) - 1, -1, -1):
            if self._decided[place] == label:
                del self._decided[place]
                break
        if label.flag == "illegal" and label.thread_id in self._to_delete:  # not deleted yet
            self._to_delete.discard(label.thread_id)
            self._illegal.discard(label.thread_id)
            offered = self._posts.get(label.thread_id)
            if offered and offered.post.picture:
                self._hidden_hashes.discard(offered.post.picture.sha256 or "")

    def _hide(self, thread_id: int) -> None:
        self._illegal.add(thread_id)
        self._to_delete.add(thread_id)
        offered = self._posts.get(thread_id)
        if offered and offered.post.picture and offered.post.picture.sha256:
            self._hidden_hashes.add(offered.post.picture.sha256)

    def _is_hidden(self, thread_id: int, picture: Picture) -> bool:
        return thread_id in self._illegal or picture.sha256 in self._hidden_hashes

    def _earlier_label(self, thread_id: int) -> Label | None:
        """Return the label to show with an offered post; ``None`` for unannounced relabels."""
        if thread_id in self._taken_back:
            return self._taken_back[thread_id]
        if not self.filters.everything:
            return None
        own = [label for label in (*self._imported, *self._decided) if label.thread_id == thread_id]
        return own[-1] if own else None

    def _known(self, thread_id: int, label: Label | None) -> OfferedPost | None:
        return self._remembered(label) if label else self._posts.get(thread_id)

    def _remembered(self, label: Label) -> OfferedPost:
        """Return a post that was labelled or skipped; one that is not loaded is made again from its label."""
        url = label.image_url_snapshot
        picture = Picture(url, None, None, None, None, None, None) if url else None
        post = Post(label.thread_id, label.posted_at, label.subject_snapshot, label.text_snapshot, picture)
        return self._posts.get(label.thread_id) or OfferedPost(post, None, None)

    def _shown(self, offered: OfferedPost, former: Label | None) -> dict[str, Any]:
        post, picture = offered.post, offered.post.picture
        shown = None
        if picture:
            known = post.thread_id in self._posts or post.thread_id in self._gone
            status = (picture.status or "not fetched") if known else "pending"
            shown = {
                "status": "hidden" if self._is_hidden(post.thread_id, picture) else status,
                "blurred": is_blurred(picture.nsfw, self.settings.images),
            }
        return {
            "thread_id": post.thread_id,
            "posted_at": post.posted_at and post.posted_at.isoformat(timespec="minutes"),
            "source": offered.source,
            "subject": post.subject,
            "text": post.text,
            "picture": shown,
            "suggestion": offered.suggestion,
            "former": former and {"rating": former.sentiment_rating, "flag": former.flag, "notes": former.notes},
        }

    def _progress(self, now: datetime, ready: int) -> dict[str, Any]:
        rated = [label for label in self._decided if label.sentiment_rating]
        sitting = [label for label in rated if label.session == self.filters.session]
        seconds = [label.seconds for label in sitting if label.seconds is not None and label.seconds <= IDLE_SECONDS]
        today = now.date()
        return {
            "today": len({label.thread_id for label in rated if label.labeled_at.date() == today}),
            "session": len({label.thread_id for label in sitting}),
            "total": len({label.thread_id for label in rated}),
            "keys": len(self._decided),
            "median_seconds": round(median(seconds), 1) if seconds else None,
            "streak": streak(sitting),
            "left": self._deck.left if self._deck else None,
            "ready": ready,
            "database": self.problem,
            "to_delete": len(self._to_delete),
        }
