"""Groups of near-duplicate posts, and the weight that the index takes from them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bizcharts_pipeline.index.recent import RecentPosts
from bizcharts_pipeline.index.sums import SETTLED, settled_weights
from bizcharts_pipeline.index.votes import HOUR, Ints, from_us, market_votes

RAID_POSTS = 5  # of one group within an hour


@dataclass(frozen=True)
class CopyGroup:
    """Posts of a stretch whose texts are nearly the same. Times are naive UTC.

    ``weight`` is what they weigh in the index; ``lost`` is the share of their weight that the discount for copies took.
    """

    first_post: int  # thread id; it may be older than the stretch
    posts: int
    first_at: datetime
    last_at: datetime
    most_in_an_hour: int
    pictures: int  # different ones
    general: str  # most of them; "": none
    coins: tuple[str, ...]
    stance: float  # weighted mean
    weight: float
    lost: float
    counts: bool  # False: of a general that the index leaves out
    raid: bool  # at least RAID_POSTS came within an hour


def copy_groups(recent: RecentPosts, excluded: Collection[str], most: int) -> list[CopyGroup]:
    """Group the index's posts that have nearly the same text, and return the ``most`` largest groups of at least two,
    the largest first, those that do not count in the index last.

    ``excluded`` are the generals that the index leaves out.
    """
    posts, votes = recent.posts, market_votes(recent.posts)
    weights, alone = settled_weights(votes), votes.weight * votes.engagement[:, SETTLED]
    places = np.flatnonzero(recent.inside)
    clusters, first, counts = np.unique(posts.cluster[places], return_index=True, return_counts=True)
    largest = np.lexsort((posts.posted_at[places[first]], -counts))[:most]
    coins = _coins_of(recent)
    found = []
    for group in largest[counts[largest] > 1].tolist():
        members = places[posts.cluster[places] == clusters[group]]
        weight, times = float(weights[members].sum()), posts.posted_at[members]
        general = max(sorted(names := recent.general[members].tolist()), key=names.count)
        found.append(
            CopyGroup(
                first_post=int(clusters[group]),
                posts=len(members),
                first_at=from_us(times[0]),
                last_at=from_us(times[-1]),
                most_in_an_hour=(busiest := _most_within(times, HOUR)),
                pictures=len(set(recent.image[members]) - {""}),
                general=general,
                coins=tuple(sorted({symbol for member in members.tolist() for symbol in coins.get(member, ())})),
                stance=float(weights[members] @ posts.stance[members]) / weight if weight else 0.0,
                weight=weight,
                lost=1 - weight / float(alone[members].sum()),
                counts=general not in excluded,
                raid=busiest >= RAID_POSTS,
            )
        )
    return sorted(found, key=lambda group: not group.counts)


def _most_within(times: Ints, length: int) -> int:
    """The most of ascending ``times`` in any stretch of ``length``."""
    return int((np.searchsorted(times, times + length, side="right") - np.arange(len(times))).max())


def _coins_of(recent: RecentPosts) -> dict[int, set[str]]:
    """The coins that each post names, by its place."""
    found: dict[int, set[str]] = {}
    for post, coin in zip(recent.mentions.post.tolist(), recent.mentions.coin.tolist(), strict=True):
        found.setdefault(post, set()).add(recent.mentions.symbols[coin])
    return found
