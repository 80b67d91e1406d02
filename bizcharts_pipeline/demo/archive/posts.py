"""Posts of a simulated world as the archive stores them, numbered as on the board, with their defects."""

import base64
import hashlib
import random
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.demo import phrases
from bizcharts_pipeline.demo.board.catalog import sticky_entry, thread_entry
from bizcharts_pipeline.demo.board.threads import WorldThread, post_number
from bizcharts_pipeline.demo.mood import Floats
from bizcharts_pipeline.demo.world import World

NEW_YORK = ZoneInfo("America/New_York")
Capcode = Literal["mod", "admin", "dev"]
FileState = Literal["kept", "removed", "foreign", "no thumbnail"]
_HOUR = 3600
_NAMES = ("Satoshi", "chartfag, CFA", "Bobo & Mumu", "linkie", "T.")
_MAILS = ("sage", "sage", "noko", "anon@boards.example")
_ADDRESS = "<br>write to desk@charts.example"

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Quirks:
    """Frequencies of defects in the archive's data, as shares from 0 to 1; ``PLAIN`` has none.

    The affected posts are determined by their numbers. Posts from before ``wrong_times_before`` (naive UTC, true time)
    are stored with New York's wall time as if it were UTC; before ``short_stems_before``, files are named with 13
    digits (milliseconds) instead of 16.
    """

    archived_share: float = 1.0  # share of the threads that the archive has seen
    threads_without_op: float = 0.004  # missing on the thread's page, but present in search and index
    deleted: float = 0.02  # marked [DELETED]
    ghosts: float = 0.02  # threads with a post by the archive's own users
    named: float = 0.03  # replies with a name
    trips: float = 0.01  # replies with a trip code
    mails: float = 0.03
    capcodes: float = 0.0005
    comma_names: float = 0.02  # files with a comma in their name
    removed_files: float = 0.005  # a file line without a link, also where the board deleted the file
    foreign_files: float = 0.003  # the link leads to the board's own host
    missing_thumbnails: float = 0.003
    hidden_addresses: float = 0.003  # posts with an extra line that contains a mail address
    wrong_times_before: datetime | None = None
    short_stems_before: datetime | None = None


PLAIN = Quirks(
    threads_without_op=0,
    deleted=0,
    ghosts=0,
    named=0,
    trips=0,
    mails=0,
    capcodes=0,
    comma_names=0,
    removed_files=0,
    foreign_files=0,
    missing_thumbnails=0,
    hidden_addresses=0,
)


@dataclass(frozen=True)
class ArchiveFile:
    """A post's file. ``stem`` is the server's name for it, ``name`` the poster's, with its extension."""

    name: str
    stem: str
    extension: str
    size: int  # bytes
    width: int
    height: int
    thumbnail_width: int
    thumbnail_height: int
    md5: str  # base64
    state: FileState


@dataclass(frozen=True)
class ArchivePost:
    """One post of the archive. ``subject`` and ``comment`` are the board's HTML; ``ghost`` is 0 for posts of the board.

    ``posted`` is the true Unix time, ``stored`` the archive's, in seconds.
    """

    number: int
    ghost: int
    thread_id: int
    opening: bool
    posted: int
    stored: int
    subject: str | None
    name: str
    trip: str | None
    mail: str | None
    capcode: Capcode | None
    comment: str
    file: ArchiveFile | None
    deleted: bool
    spoiler: bool
    sticky: bool


class Holdings:
    """The posts of ``world``'s threads in [``since``, ``until``), and its sticky.

    A post is identified by its position in the arrays, which are sorted by post number.
    """

    def __init__(self, world: World, quirks: Quirks, since: datetime, until: datetime) -> None:
        self.start, self.sticky, self.quirks, self.until = world.start, world.sticky, quirks, until
        everything = [world.sticky, *world.threads_between(since, until)]
        kept = chance(np.array([thread.thread_id for thread in everything]), "archived") < quirks.archived_share
        table = _numbered(everything, world.start)
        table = table[:, kept[table[0]]]
        places = np.cumsum(kept) - 1
        self.threads = [thread for thread, keep in zip(everything, kept.tolist(), strict=True) if keep]
        self.place = {thread.thread_id: place for place, thread in enumerate(self.threads)}
        table[0] = places[table[0]]
        table = np.concatenate([table, self._ghosts(table)], axis=1)
        self.thread, self.count, self.posted, self.number, self.ghost = table[:, np.lexsort((table[4], table[3]))]
        self.stored = _stored(self.posted, quirks.wrong_times_before)
        self.deleted: Flags = chance(self.number, "deleted") < quirks.deleted
        self.addressed: Flags = chance(self.number, "address") < quirks.hidden_addresses
        self.opening: Flags = (self.count == 0) & (self.ghost == 0)
        self.lacks_op: Flags = chance(self._thread_ids(), "opening") < quirks.threads_without_op
        self.by_posted = np.argsort(self.posted, kind="stable")
        self.by_stored = np.argsort(self.stored, kind="stable")
        self.openings_by_stored = self.by_stored[self.opening[self.by_stored]]
        self._by_thread = np.argsort(self.thread, kind="stable")
        self._thread_ends = np.searchsorted(self.thread[self._by_thread], np.arange(len(self.threads) + 1))

    def positions(self, place: int, now: int) -> Integers:
        """Return the positions of the simulated archive's posts, in order, that the thread at ``place`` had at Unix
        second ``now``."""
        found: Integers = self._by_thread[self._thread_ends[place] : self._thread_ends[place + 1]]
        there: Integers = found[self.posted[found] <= now]
        return there

    def position(self, number: int, ghost: int = 0) -> int | None:
        """Return the position of a post in the simulated archive; ``None`` if it does not exist."""
        found = int(np.searchsorted(self.number, number))
        while found < len(self.number) and self.number[found] == number:
            if self.ghost[found] == ghost:
                return found
            found += 1
        return None

    def with_file(self, stem: str, now: int) -> tuple[ArchivePost, WorldThread] | None:
        """Return the post whose file the simulated archive stores as ``stem``, and a thread from which :func:`picture`
        draws it."""
        second, posted = int(stem[:10]), self.posted[self.by_posted]
        first, last = np.searchsorted(posted, [second, second + 1])
        for position in self.by_posted[first:last].tolist() if second <= now else []:
            post = self.post(position)
            if post.file is not None and post.file.stem == stem and post.file.state in ("kept", "no thumbnail"):
                thread = self.threads[self.thread[position]]
                return post, thread if post.opening else replace(thread, tim=int(stem), extension=".jpg")
        return None

    def comment(self, position: int) -> str:
        """Return the text of a post in the simulated archive as the board's HTML."""
        thread, count = self.threads[self.thread[position]], int(self.count[position])
        text = thread.html if self.opening[position] else _reply(thread.thread_id, count)
        return text + _ADDRESS if self.addressed[position] else text

    def post(self, position: int) -> ArchivePost:
        """Return the complete post at a position in the simulated archive."""
        thread, opening = self.threads[self.thread[position]], bool(self.opening[position])
        number, ghost = int(self.number[position]), int(self.ghost[position])
        rng = random.Random(f"bizcharts-archive-{number}-{ghost}")
        live = self._live_entry(thread) if opening else _reply_entry(rng, self.quirks)
        mail = rng.choice(_MAILS) if rng.random() < self.quirks.mails else None
        capcode: Capcode | None = rng.choice(("mod", "admin", "dev")) if rng.random() < self.quirks.capcodes else None
        return ArchivePost(
            number=number,
            ghost=ghost,
            thread_id=thread.thread_id,
            opening=opening,
            posted=int(self.posted[position]),
            stored=int(self.stored[position]),
            subject=thread.subject if opening else None,
            name=live.get("name", ""),
            trip=live.get("trip"),
            mail=mail,
            capcode="mod" if "capcode" in live else capcode,
            comment=self.comment(position),
            file=self._file(position, live, rng),
            deleted=bool(self.deleted[position]),
            spoiler=opening and thread.spoiler,
            sticky=thread is self.sticky and opening,
        )

    def _live_entry(self, thread: WorldThread) -> dict[str, Any]:
        if thread is self.sticky:
            return sticky_entry(thread)
        return thread_entry(thread, 0, to_epoch(thread.posted_at), self.start)

    def _file(self, position: int, live: dict[str, Any], rng: random.Random) -> ArchiveFile | None:
        thread, quirks = self.threads[self.thread[position]], self.quirks
        if not self.opening[position]:
            count = int(self.count[position])
            if self.ghost[position] or thread.images_among(count) == thread.images_among(count - 1):
                return None
            live = _reply_file(thread, int(self.posted[position]), rng)
        draw = rng.random()
        limits: tuple[tuple[FileState, float], ...] = (
            ("removed", quirks.removed_files),
            ("foreign", quirks.removed_files + quirks.foreign_files),
            ("no thumbnail", quirks.removed_files + quirks.foreign_files + quirks.missing_thumbnails),
        )
        state: FileState = next((state for state, limit in limits if draw < limit), "kept")
        if self.opening[position] and thread.file_deleted_at is not None:
            state = "removed"
        name = live["filename"].replace("_", ", ") if rng.random() < quirks.comma_names else live["filename"]
        short = quirks.short_stems_before is not None and self.posted[position] < to_epoch(quirks.short_stems_before)
        return ArchiveFile(
            name=name + live["ext"],
            stem=str(live["tim"] // 1000 if short else live["tim"]),
            extension=live["ext"],
            size=live["fsize"],
            width=live["w"],
            height=live["h"],
            thumbnail_width=live["tn_w"],
            thumbnail_height=live["tn_h"],
            md5=live["md5"],
            state=state,
        )

    def _thread_ids(self) -> Integers:
        return np.array([thread.thread_id for thread in self.threads], dtype=np.int64)

    def _ghosts(self, table: Integers) -> Integers:
        """Return ghost posts for some threads: each has the number of one of the thread's posts, and is an hour
        later."""
        numbers = self._thread_ids()
        finals = np.array([thread.final_replies for thread in self.threads], dtype=np.int64)
        haunted = chance(numbers, "ghost") < self.quirks.ghosts
        ghosts = table[:, haunted[table[0]] & (table[1] == (numbers // 2 % (finals + 1))[table[0]])].copy()
        ghosts[2] += _HOUR
        ghosts[4] = 1
        return ghosts


def chance(numbers: Integers, purpose: str) -> Floats:
    """Return for the simulated archive a deterministic draw from [0, 1) for each number and ``purpose``, using the
    mixing steps of splitmix64."""
    mixed = numbers.astype(np.uint64) + np.uint64(zlib.crc32(purpose.encode()) << 31)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    draws: Floats = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
    return draws


def _numbered(threads: list[WorldThread], start: datetime) -> Integers:
    """Return the rows thread (place), count (0 for the opening post), posted, number and ghost number of all posts.

    A reply has the odd post number of its second, or the next free one.
    """
    finals = np.array([thread.final_replies for thread in threads], dtype=np.int64)
    opened = np.array([to_epoch(thread.posted_at) for thread in threads])
    pace = np.array([thread.pace_hours * _HOUR for thread in threads])
    thread = np.repeat(np.arange(len(threads)), finals)
    count = np.arange(len(thread)) - np.repeat(np.cumsum(finals) - finals, finals) + 1
    posted = np.floor(opened[thread] - pace[thread] * np.log1p(-count / (finals[thread] + 1))).astype(np.int64)
    order = np.lexsort((count, thread, posted))
    thread, count, posted = thread[order], count[order], posted[order]
    origin = int(to_epoch(start))
    first, second = post_number(origin, start), post_number(origin + 1, start)
    steps = 2 * np.arange(len(posted))
    number = np.maximum.accumulate(first + (second - first) * (posted - origin) + 1 - steps) + steps
    replies = np.stack([thread, count, posted, number, np.zeros_like(number)])
    numbers = np.array([each.thread_id for each in threads], dtype=np.int64)
    nothing = np.zeros_like(numbers)
    openings = np.stack([np.arange(len(threads)), nothing, opened.astype(np.int64), numbers, nothing])
    return np.concatenate([openings, replies], axis=1)


def _stored(posted: Integers, wrong_before: datetime | None) -> Integers:
    """Return the stored times: before ``wrong_before``, New York's wall time as if it were UTC."""
    if wrong_before is None:
        return posted
    hours, place = np.unique(posted // _HOUR, return_inverse=True)  # offsets change at full hours
    offsets = np.array([new_york_offset(hour * _HOUR) for hour in hours.tolist()])
    return np.where(posted < to_epoch(wrong_before), posted + offsets[place], posted)


def new_york_offset(epoch: int) -> int:
    """Return New York's offset from UTC in seconds, by which the simulated archive's times are wrong, at a Unix
    second: -18000 or -14400."""
    offset = datetime.fromtimestamp(epoch, NEW_YORK).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _reply(thread_id: int, count: int) -> str:
    """Return the text of a reply, the same as on the live board."""
    text = phrases.REPLIES[(thread_id // 2 * 7 + count * 13) % len(phrases.REPLIES)]
    if count % 3:
        return text
    return f'<a href="#p{thread_id}" class="quotelink">&gt;&gt;{thread_id}</a><br>{text}'


def _reply_entry(rng: random.Random, quirks: Quirks) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": rng.choice(_NAMES) if rng.random() < quirks.named else "Anonymous"}
    if rng.random() < quirks.trips:
        entry["trip"] = "!" + base64.b64encode(rng.randbytes(9)).decode()[:10]
    return entry


def _reply_file(thread: WorldThread, posted: int, rng: random.Random) -> dict[str, Any]:
    tim = posted * 1_000_000 + rng.randrange(1_000_000)
    scale = 125 / max(thread.width, thread.height)
    return {
        "filename": f"{rng.choice(phrases.WORDS_FOR_FILES)}_{rng.randrange(10_000)}",
        "ext": ".jpg",
        "tim": tim,
        "w": thread.width,
        "h": thread.height,
        "tn_w": int(thread.width * scale),
        "tn_h": int(thread.height * scale),
        "md5": base64.b64encode(hashlib.md5(str(tim).encode(), usedforsecurity=False).digest()).decode(),
        "fsize": int(rng.lognormvariate(12, 2)) + 100,
    }
