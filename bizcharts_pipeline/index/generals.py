"""The generals, the board's recurring threads: how much they post, and their mood."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bizcharts_pipeline.index.mean_stance import MeanStance, mean_stances
from bizcharts_pipeline.index.recent import RecentPosts
from bizcharts_pipeline.index.votes import from_us, market_votes


@dataclass(frozen=True)
class General:
    """A general in a stretch of time."""

    name: str  # "smg" for /smg/; "": all other threads
    threads: int
    share: float  # of all threads
    replies: float  # per thread at the age of two hours, the mean; 0 of archived threads
    newest_at: datetime  # naive UTC
    counts: bool  # whether the index counts it
    mood: MeanStance


def generals(recent: RecentPosts, excluded: Collection[str], probability: float) -> list[General]:
    """Return the mood of each general, the one with the most threads first, and all other threads last.

    ``excluded`` are those that the index leaves out; ``probability`` is that of the intervals.
    """
    inside = recent.inside
    names, group = np.unique(recent.general[inside].astype(str), return_inverse=True)
    if not len(names):
        return []
    groups = np.full(len(inside), -1)
    groups[inside] = group
    moods = mean_stances(market_votes(recent.posts), groups, len(names), probability)
    threads = np.bincount(group, minlength=len(names))
    replies = np.bincount(group, recent.posts.replies[inside, 2], len(names)) / threads
    newest = [int(recent.posts.posted_at[groups == place].max()) for place in range(len(names))]
    found = [
        General(
            name=str(name),
            threads=int(threads[place]),
            share=float(threads[place] / threads.sum()),
            replies=float(replies[place]),
            newest_at=from_us(newest[place]),
            counts=name not in excluded,
            mood=moods[place],
        )
        for place, name in enumerate(names)
    ]
    return sorted(found, key=lambda each: (each.name == "", -each.threads, each.name))
