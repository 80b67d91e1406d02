"""A simulated board with a hidden mood: its threads, and its state at any moment.

Everything is determined by the seed, and any moment can be queried in any order: replies come at fixed ages, so no
events have to be replayed.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from bizcharts_pipeline.core.clock import from_epoch, to_epoch
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.demo.board.catalog import BUMP_LIMIT, file_md5, file_name, sticky_entry, thread_entry
from bizcharts_pipeline.demo.board.threads import DAY_SECONDS, WorldThread, sticky_thread, threads_of_day
from bizcharts_pipeline.demo.mood import Floats, MoodPath

BOARD_THREADS = 150  # including the sticky
THREADS_A_PAGE = 15
ARCHIVED_FOR = timedelta(days=5)  # after posting: a day or two on the board, and three in the archive
_PUBLIC_IMAGE_URL = "https://i.4cdn.org"


@dataclass(frozen=True)
class _Day:
    """The threads of one UTC day, and the arrays by which the board sorts them."""

    threads: tuple[WorldThread, ...]
    posted: Floats  # Unix seconds
    final: Floats  # replies
    pace: Floats  # seconds


class World:
    """The board of ``seed``. The mood's bull run and crash are within ``days`` from ``start`` (naive UTC)."""

    def __init__(self, seed: int, start: datetime, days: float, *, threads_per_day: float = 300) -> None:
        self.seed = seed
        self.start = start
        self.threads_per_day = threads_per_day
        self.mood_path = MoodPath(seed, start, days)
        self._days: dict[int, _Day] = {}

    @cached_property
    def sticky(self) -> WorldThread:
        """The simulated board's sticky thread."""
        return sticky_thread(self.start)

    def mood(self, moment: datetime) -> float:
        """Return the simulated board's hidden mood, -1 to 1."""
        return self.mood_path.at(moment)

    def threads_between(self, begin: datetime, end: datetime) -> list[WorldThread]:
        """Return the simulated threads posted in [``begin``, ``end``), oldest first, without the sticky."""
        first, last = int(to_epoch(begin) // DAY_SECONDS), int(to_epoch(end) // DAY_SECONDS)
        days = (self._day(day) for day in range(first, last + 1))
        return [thread for day in days for thread in day.threads if begin <= thread.posted_at < end]

    def catalog(self, moment: datetime) -> list[dict[str, Any]]:
        """Return the simulated board's ``catalog.json`` at ``moment``: ten pages of fifteen threads, latest bump
        first."""
        at = to_epoch(moment)
        entries = [sticky_entry(self.sticky)]
        entries += [thread_entry(thread, replies, at, self.start) for thread, replies in self._board(at)]
        return [
            {"page": number, "threads": entries[first : first + THREADS_A_PAGE]}
            for number, first in enumerate(range(0, len(entries), THREADS_A_PAGE), start=1)
        ]

    def changed_at(self, moment: datetime) -> datetime:
        """Return the time of the last change of the simulated board's catalogue at ``moment``: a thread, a reply or a
        deleted file."""
        at = to_epoch(moment)
        latest = to_epoch(self.sticky.posted_at)
        for thread, replies in self._board(at):
            latest = max(latest, thread.reply_time(replies) if replies else to_epoch(thread.posted_at))
            if thread.file_deleted_at is not None and thread.file_deleted_at <= moment:
                latest = max(latest, to_epoch(thread.file_deleted_at))
        return from_epoch(latest)

    def archived(self, moment: datetime) -> list[int]:
        """Return the numbers of recent threads that have dropped off the simulated board, ascending."""
        shown = {thread.thread_id for thread, _ in self._board(to_epoch(moment))}
        recent = self.threads_between(moment - ARCHIVED_FOR, moment)
        return [thread.thread_id for thread in recent if thread.thread_id not in shown]

    def picture_owner(self, tim: int) -> WorldThread | None:
        """Return the simulated thread whose picture has the number ``tim``."""
        second = tim // 1_000_000
        if abs(second - to_epoch(self.start)) > 4000 * DAY_SECONDS:
            return None
        posted = from_epoch(second)
        near = [self.sticky, *self.threads_between(posted, posted + timedelta(seconds=1))]
        return next((thread for thread in near if thread.tim == tim), None)

    def as_archive(
        self, thread: WorldThread, *, image_url: str = _PUBLIC_IMAGE_URL, board: str = "biz"
    ) -> SourceThread:
        """Return the simulated ``thread`` as stored by an archive, with its final counts."""
        kept = thread.file_deleted_at is None
        return SourceThread(
            thread_id=thread.thread_id,
            posted_at=thread.posted_at,
            source="warosu",
            subject=thread.subject_text,
            op_html=thread.html or None,
            reply_count=thread.final_replies,
            image_count=thread.final_images,
            image_url=f"{image_url}/{board}/{thread.tim}{thread.extension}" if kept else None,
            thumbnail_url=f"{image_url}/{board}/{thread.tim}s.jpg" if kept else None,
            image_md5=file_md5(thread) if kept else None,
            image_filename=file_name(thread) if kept else None,
            image_width=thread.width if kept else None,
            image_height=thread.height if kept else None,
            file_deleted=not kept,
            spoiler=thread.spoiler,
        )

    def _board(self, at: float) -> list[tuple[WorldThread, int]]:
        """Return the threads on the board without the sticky, latest bump first, with their replies at ``at``."""
        today = int(at // DAY_SECONDS)
        past = math.ceil(2 * max(1.0, 300 / self.threads_per_day))
        days = [self._day(day) for day in range(today - past, today + 1)]
        threads = [thread for day in days for thread in day.threads]
        posted = np.concatenate([day.posted for day in days])
        final = np.concatenate([day.final for day in days])
        pace = np.concatenate([day.pace for day in days])
        age = np.maximum(at - posted, 0)
        replies = np.minimum(final, np.floor((final + 1) * -np.expm1(-age / pace)))
        bumped = posted - pace * np.log1p(-np.minimum(replies, BUMP_LIMIT) / (final + 1))
        order = np.argsort(np.where(posted <= at, -bumped, np.inf), kind="stable")[: BOARD_THREADS - 1]
        return [(threads[index], int(replies[index])) for index in order.tolist() if posted[index] <= at]

    def _day(self, number: int) -> _Day:
        if number not in self._days:
            threads = threads_of_day(
                number,
                seed=self.seed,
                start=self.start,
                mood=self.mood_path,
                threads_per_day=self.threads_per_day,
            )
            self._days[number] = _Day(
                threads,
                np.array([to_epoch(thread.posted_at) for thread in threads]),
                np.array([thread.final_replies for thread in threads], dtype=float),
                np.array([thread.pace_hours * 3600 for thread in threads]),
            )
        return self._days[number]
