"""Input of the index: scored posts and their mentions of coins, as arrays.

Every time in this package is an ``int64`` of microseconds since 1970 (UTC): numpy compares those fast and DuckDB keeps
them exactly. :func:`to_us` and :func:`from_us` convert at the boundary.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LISTED_COINS = 4  # a post that names more coins is a list: each of its k coins gets 1/k of its weight
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Return the microseconds since 1970, in which the index counts time, of a naive UTC ``moment``."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return the naive UTC ``datetime`` of ``microseconds`` since 1970, in which the index counts time."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


@dataclass(frozen=True)
class Posts:
    """``P`` counted opening posts, in order of (posted_at, thread_id).

    ``replies[:, 0]`` and ``[:, 1]`` are the replies known at the first and second full hour at or after the post (which
    lie within its first two hours), ``[:, 2]`` at the age of two hours, or at loading if that was earlier. All are 0
    without a timely observation, as for archived posts.
    """

    thread_id: Ints  # (P,)
    posted_at: Ints  # (P,)
    known_at: Ints  # (P,) when this project received the text that was scored
    cluster: Ints  # (P,) thread_id of the first post of its near-duplicates
    stance: Floats  # (P,) -1 to 1
    confidence: Floats  # (P,) 0 to 1
    replies: Floats  # (P, 3)
    live: Bools  # (P,) seen on the board itself

    def part(self, wanted: Bools) -> "Posts":
        """Return some of the index's counted posts, in their order."""
        return Posts(*(getattr(self, field.name)[wanted] for field in fields(self)))


@dataclass(frozen=True)
class Mentions:
    """``Q`` mentions of coins by posts of the same load, in the order of the posts."""

    post: Ints  # (Q,) index in Posts
    coin: Ints  # (Q,) index in symbols
    symbols: tuple[str, ...]
    certainty: Floats  # (Q,) 0 to 1, that the coin is meant
    coins_named: Ints  # (Q,) by the post
    stance: Floats  # (Q,) towards the coin
    confidence: Floats  # (Q,) of that stance

    def by(self, posts: Bools) -> "Mentions":
        """Return the mentions of coins by some of the index's posts (P,); ``post`` is then the index in
        ``Posts.part(posts)``.
        """
        place = np.cumsum(posts) - 1
        kept = posts[self.post]
        return Mentions(
            post=place[self.post[kept]],
            coin=self.coin[kept],
            symbols=self.symbols,
            certainty=self.certainty[kept],
            coins_named=self.coins_named[kept],
            stance=self.stance[kept],
            confidence=self.confidence[kept],
        )


@dataclass(frozen=True)
class Votes:
    """``M`` votes on the mood, ascending by time; ``series`` is their subject (0: the market; or the number of a
    coin).
    """

    posted_at: Ints  # (M,) ascending
    series: Ints  # (M,)
    cluster: Ints  # (M,)
    copy: Bools  # (M,) not the first post of its cluster
    stance: Floats  # (M,)
    weight: Floats  # (M,) the part that does not depend on the moment of reading
    engagement: Floats  # (M, 3) as the columns of Posts.replies


def certainty_factor(confidence: Floats) -> Floats:
    """Return 0.25 + 0.75 c, the factor of a post's weight in the index: an uncertain stance is already near zero, so it
    is only partly discounted again.
    """
    return 0.25 + 0.75 * confidence


def market_votes(posts: Posts) -> Votes:
    """Return one vote on the market's mood per post."""
    return Votes(
        posted_at=posts.posted_at,
        series=np.zeros(len(posts.posted_at), np.int64),
        cluster=posts.cluster,
        copy=posts.cluster != posts.thread_id,
        stance=posts.stance,
        weight=certainty_factor(posts.confidence),
        engagement=1 + np.log1p(posts.replies),
    )


def coin_votes(posts: Posts, mentions: Mentions, numbers: Ints) -> Votes:
    """Return one vote on a coin's mood per post and coin named, weighted by the certainty that the coin is meant.

    ``numbers`` are the series of the mentions' symbols.
    """
    listed = np.where(mentions.coins_named > LISTED_COINS, 1 / np.maximum(mentions.coins_named, 1), 1.0)
    return Votes(
        posted_at=posts.posted_at[mentions.post],
        series=numbers[mentions.coin],
        cluster=posts.cluster[mentions.post],
        copy=(posts.cluster != posts.thread_id)[mentions.post],
        stance=mentions.stance,
        weight=certainty_factor(mentions.confidence) * mentions.certainty * listed,
        engagement=1 + np.log1p(posts.replies[mentions.post]),
    )
