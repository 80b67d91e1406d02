"""Scored posts as arrays by UTC day: what every measure of drift reads."""

import math
import re
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.labels.text_model import MAX_CHARACTERS
from bizcharts_pipeline.text.duplicates import normalise
from bizcharts_pipeline.warehouse.scores import ScoredText

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DIMENSIONS = 128  # of the hashed TF-IDF vectors

_WORD = re.compile(r"[^\W\d_]{2,}(?:'[^\W\d_]+)?")


@dataclass(frozen=True)
class Panel:
    """``n`` posts of ``days`` UTC days from ``first`` on, in order of time."""

    first: date
    starts: Ints  # (days + 1,) the place of each day's first post; then n
    thread_ids: Ints  # (n,)
    probabilities: Floats  # (n, 3) bearish, neutral, bullish
    confidence: Floats  # (n,)
    words: tuple[tuple[str, ...], ...]  # of each post, in order
    vocabulary: tuple[str, ...]
    word_starts: Ints  # (n + 1,) where each post's part of ``word_ids`` begins
    word_ids: Ints  # the different words of each post, as places in the vocabulary

    @property
    def days(self) -> int:
        """Number of days of the panel."""
        return len(self.starts) - 1

    @cached_property
    def day_of(self) -> Ints:
        """The day of each post of the panel, from 0: (n,)."""
        return np.repeat(np.arange(self.days), np.diff(self.starts))

    @cached_property
    def design(self) -> Floats:
        """The panel's regressors of each post, 1 and the probabilities of bearish and bullish: (n, 3). The three
        probabilities add up to one, so two will do."""
        return np.column_stack([np.ones(len(self.probabilities)), self.probabilities[:, [0, 2]]])

    @cached_property
    def vectors(self) -> Floats:
        """TF-IDF of the different words of each post of the panel, hashed with signs to 128 dimensions, of length 1 or
        0: (n, 128)."""
        posts, size = len(self.thread_ids), len(self.vocabulary)
        found_in = np.bincount(self.word_ids, minlength=size)
        weights = np.log((1 + posts) / (1 + found_in)) + 1
        hashes = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in self.vocabulary], np.int64)
        signed = np.where(hashes >> 31, 1.0, -1.0) * weights
        cells = self._post_of_word * DIMENSIONS + (hashes % DIMENSIONS)[self.word_ids]
        summed = np.bincount(cells, signed[self.word_ids], minlength=posts * DIMENSIONS)
        vectors = summed.reshape(posts, DIMENSIONS)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))

    @cached_property
    def _post_of_word(self) -> Ints:
        return np.repeat(np.arange(len(self.thread_ids)), np.diff(self.word_starts))

    def posts(self, first: int, end: int) -> slice:
        """Return the places of the panel's posts of the days from ``first`` up to but without ``end``."""
        return slice(int(self.starts[first]), int(self.starts[end]))

    def unknown_share(self, posts: slice, known: NDArray[np.bool_]) -> Floats:
        """Return the share of the different words of each of the panel's ``posts`` that are not ``known``
        (vocabulary,); 0 without words."""
        begin, end = self.word_starts[posts.start], self.word_starts[posts.stop]
        owner = self._post_of_word[begin:end] - posts.start
        unknown = np.bincount(owner, ~known[self.word_ids[begin:end]], minlength=posts.stop - posts.start)
        count = np.diff(self.word_starts[posts.start : posts.stop + 1])
        return unknown / np.maximum(count, 1)

    def found_in(self, posts: slice) -> Ints:
        """Return the number of the panel's ``posts`` that have each word: (vocabulary,)."""
        begin, end = self.word_starts[posts.start], self.word_starts[posts.stop]
        return np.bincount(self.word_ids[begin:end], minlength=len(self.vocabulary))

    def day(self, place: int) -> date:
        """Return the date of a day of the panel."""
        return self.first + timedelta(days=place)


def build_panel(posts: Sequence[ScoredText], first: date, days: int) -> Panel:
    """Return the panel, from which drift is measured, of ``posts``: in order of time, within the ``days`` days from
    ``first`` on."""
    words = tuple(words_of(post.text) for post in posts)
    places: dict[str, int] = {}
    different = [[places.setdefault(word, len(places)) for word in dict.fromkeys(each)] for each in words]
    day = np.array([(post.posted_at.date() - first).days for post in posts], np.int64)
    return Panel(
        first=first,
        starts=np.searchsorted(day, np.arange(days + 1)),
        thread_ids=np.array([post.thread_id for post in posts], np.int64),
        probabilities=np.array([post.probabilities for post in posts], np.float64).reshape(-1, 3),
        confidence=np.array([post.confidence for post in posts], np.float64),
        words=words,
        vocabulary=tuple(places),
        word_starts=np.cumsum([0, *map(len, different)]),
        word_ids=np.array([place for each in different for place in each], np.int64),
    )


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a post in the panel of drift: of at least two letters, in lower case, without links and
    numbers."""
    # Equal words are one object: 50,000 posts have 2 million words, and 100,000 different ones.
    return tuple(map(sys.intern, _WORD.findall(normalise(text[:MAX_CHARACTERS]))))


def daily_means(panel: Panel, values: Floats, posts: slice) -> Floats:
    """Return the mean of ``values``, one for each of the panel's ``posts``, of each day that has any."""
    day = panel.day_of[posts]
    count = np.bincount(day)
    return (np.bincount(day, values) / np.maximum(count, 1))[count > 0]


def standard_error(means: Floats) -> float:
    """Return the standard error of the mean of a panel's daily means; NaN with fewer than two."""
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.nan
