"""Threads of the simulated board: times, stances, texts and replies."""

import html
import math
import random
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bizcharts_pipeline.core.clock import from_epoch, to_epoch
from bizcharts_pipeline.demo.mood import MoodPath, Stance, class_probabilities
from bizcharts_pipeline.demo.writer import Draft, write_copypasta, write_general, write_post

DAY_SECONDS = 86_400
_FIRST_NUMBER = 60_000_000  # at the world's start
_NUMBERS_A_SECOND = 2  # threads have even numbers, replies odd ones
_BUSIEST_HOUR = 19  # UTC: afternoon in America
_SWING = 0.55  # of the hourly rate, between the quietest and the busiest hour
_RAIDS_A_DAY = 0.3
_GENERAL_HOURS = (2, 7, 12, 16, 20)
_MEDIAN_REPLIES = 6
_MAX_REPLIES = 380
_SIZES = ((640, 480), (800, 600), (512, 512), (720, 900), (1024, 576))


@dataclass(frozen=True)
class WorldThread:
    """One opening post with its hidden truth. ``subject`` and ``html`` are as served by the API; times are UTC."""

    thread_id: int
    posted_at: datetime
    stance: Stance
    mood: float  # of the board when it was posted
    subject: str | None
    html: str
    coins: tuple[str, ...]
    general: str | None
    ironic: bool  # the text says the opposite of the stance
    wordless: bool  # the text says nothing
    raid: int | None  # copies of one copypasta share this number
    final_replies: int
    pace_hours: float  # time constant of the replies
    image_share: float  # of the replies
    tim: int
    extension: str
    width: int
    height: int
    spoiler: bool
    file_deleted_at: datetime | None

    @property
    def subject_text(self) -> str | None:
        """The subject of the simulated thread as plain text."""
        return html.unescape(self.subject) if self.subject else None

    @property
    def final_images(self) -> int:
        """Number of pictures among all the replies of the simulated thread."""
        return self.images_among(self.final_replies)

    def images_among(self, replies: int) -> int:
        """Return the number of pictures among the first ``replies`` replies of the simulated thread."""
        return int(replies * self.image_share)

    def reply_time(self, count: int) -> float:
        """Return the Unix second of reply number ``count`` (from 1) of the simulated thread; reply rates decay
        exponentially."""
        age = -self.pace_hours * 3600 * math.log1p(-count / (self.final_replies + 1))
        return to_epoch(self.posted_at) + age


def post_number(epoch: float, start: datetime) -> int:
    """Return the simulated board's even post number at Unix second ``epoch``, in a world that starts at ``start``."""
    return _FIRST_NUMBER + _NUMBERS_A_SECOND * int(epoch - to_epoch(start))


def threads_of_day(
    day: int, *, seed: int, start: datetime, mood: MoodPath, threads_per_day: float
) -> tuple[WorldThread, ...]:
    """Return the simulated board's threads of UTC day number ``day`` (since 1970), ordered by time."""
    rng = random.Random(f"bizcharts-world-{seed}-{day}")
    posts = _ordinary_posts(day, seed, mood, threads_per_day, rng)
    posts += _general_posts(day, rng)
    posts += _raid_posts(day, rng)
    posts.sort(key=lambda post: post.second)
    moods = mood.at_epochs(np.array([post.second for post in posts], dtype=float))
    threads: list[WorldThread] = []
    number = 0
    for post, feeling in zip(posts, moods, strict=True):
        number = max(post_number(post.second, start), number + _NUMBERS_A_SECOND)
        threads.append(_thread(number, post, float(feeling), 300 / threads_per_day, rng))
    return tuple(threads)


@dataclass(frozen=True)
class _Planned:
    second: int  # Unix
    stance: Stance
    draft: Draft
    general: str | None = None
    raid: int | None = None


def _ordinary_posts(day: int, seed: int, mood: MoodPath, threads_per_day: float, rng: random.Random) -> list[_Planned]:
    """Return the posts of an inhomogeneous Poisson process, each with a stance drawn at the mood of its time."""
    numbers = np.random.default_rng([seed, 2, day])
    hours = np.arange(24)
    rate = threads_per_day / 24 * (1 + _SWING * np.cos(2 * np.pi * (hours - _BUSIEST_HOUR) / 24))
    counts = numbers.poisson(rate)
    seconds = day * DAY_SECONDS + np.repeat(hours, counts) * 3600 + numbers.integers(0, 3600, counts.sum())
    posts = []
    for second, feeling in zip(seconds.tolist(), mood.at_epochs(seconds.astype(float)).tolist(), strict=True):
        chances = class_probabilities(feeling)
        stance: Stance = rng.choices(list(chances), list(chances.values()))[0]
        posts.append(_Planned(second, stance, write_post(stance, rng)))
    return posts


def _general_posts(day: int, rng: random.Random) -> list[_Planned]:
    posts = []
    for index, hour in enumerate(_GENERAL_HOURS):
        name, draft = write_general(0 if index % 2 == 0 else index, rng)
        second = day * DAY_SECONDS + hour * 3600 + rng.randint(0, 3599)
        posts.append(_Planned(second, "neutral", draft, general=name))
    return posts


def _raid_posts(day: int, rng: random.Random) -> list[_Planned]:
    """Return the posts of a raid, on some days: one text posted five to twenty times within about an hour."""
    posts: list[_Planned] = []
    if rng.random() < _RAIDS_A_DAY:
        stance: Stance = rng.choice(("bullish", "bullish", "bearish"))
        draft = write_copypasta(stance, rng)
        second = day * DAY_SECONDS + rng.randint(0, DAY_SECONDS - 7200)
        for _ in range(rng.randint(5, 20)):
            second += rng.randint(20, 300)
            posts.append(_Planned(second, stance, draft, raid=day))
    return posts


def _thread(number: int, post: _Planned, mood: float, pace_scale: float, rng: random.Random) -> WorldThread:
    final = int(_MEDIAN_REPLIES * math.exp(rng.gauss(0, 1.35)))
    if post.general:
        final += 120
    if post.raid is not None:
        final = rng.randint(0, 3)
    width, height = rng.choice(_SIZES)
    deleted = rng.random() < 0.01
    return WorldThread(
        thread_id=number,
        posted_at=from_epoch(post.second),
        stance=post.stance,
        mood=mood,
        subject=post.draft.subject,
        html=post.draft.html,
        coins=post.draft.coins,
        general=post.general,
        ironic=post.draft.ironic,
        wordless=post.draft.wordless,
        raid=post.raid,
        final_replies=min(final, _MAX_REPLIES),
        pace_hours=rng.uniform(0.4, 1.6) * pace_scale,
        image_share=rng.uniform(0.05, 0.5),
        tim=post.second * 1_000_000 + rng.randint(0, 999_999),
        extension=".png" if rng.random() < 0.25 else ".jpg",
        width=width,
        height=height,
        spoiler=rng.random() < 0.01,
        file_deleted_at=from_epoch(post.second + rng.randint(300, 10_800)) if deleted else None,
    )


def sticky_thread(start: datetime) -> WorldThread:
    """Return the simulated board's sticky, which is older than the world."""
    posted = int(to_epoch(start)) - 100 * DAY_SECONDS
    return WorldThread(
        thread_id=post_number(posted, start),
        posted_at=from_epoch(posted),
        stance="neutral",
        mood=0.0,
        subject="Welcome to the simulated board",
        html="This board and everybody on it are simulated.<br><br>Nothing here is advice of any kind.",
        coins=(),
        general=None,
        ironic=False,
        wordless=False,
        raid=None,
        final_replies=2,
        pace_hours=1.0,
        image_share=0.0,
        tim=posted * 1_000_000,
        extension=".png",
        width=640,
        height=480,
        spoiler=False,
        file_deleted_at=None,
    )
