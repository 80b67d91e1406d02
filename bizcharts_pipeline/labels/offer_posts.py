"""Content of offered posts, loaded in batches, and the labelling progress by month and source."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import duckdb

from bizcharts_pipeline.core.rows import Source
from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.labels.offers import Candidates
from bizcharts_pipeline.labels.stances import STANCES, Stance
from bizcharts_pipeline.warehouse.labelled import as_table

# The champion's scores are those of the model version in the thread's row.
_SCORES = """
SELECT t.thread_id, t.source, s.p_bearish, s.p_neutral, s.p_bullish
FROM {wanted} AS w JOIN thread_ops AS t ON t.thread_id = w.thread_id
LEFT JOIN scored_posts AS s ON s.thread_id = t.thread_id AND s.model_version = t.sentiment_model_version
"""


@dataclass(frozen=True)
class OfferedPost:
    """A post for the labeller; ``suggestion`` is the champion's most probable class, if it has scored the post."""

    post: Post
    source: Source | None
    suggestion: Stance | None


@dataclass(frozen=True)
class Stratum:
    """Labelling progress of one month and source. ``target`` is its share of the wanted labels."""

    month: str  # such as 2025-10
    source: Source
    posts: int
    target: int
    done: tuple[int, int, int]  # bearish, neutral, bullish


def load_offered(connection: duckdb.DuckDBPyConnection, thread_ids: Collection[int]) -> list[OfferedPost]:
    """Load the posts of ``thread_ids`` to offer to a labeller, as far as they still exist."""
    if not thread_ids:
        return []
    scores = {row[0]: row[1:] for row in connection.execute(_SCORES.format(wanted=as_table(thread_ids))).fetchall()}
    offered = []
    for post in load_posts(connection, thread_ids):
        source, *chances = scores.get(post.thread_id, (None, None))
        known = chances[0] is not None
        offered.append(OfferedPost(post, source, STANCES[chances.index(max(chances))] if known else None))
    return offered


def progress(candidates: Candidates, labels: Iterable[Label], wanted: int) -> list[Stratum]:
    """Return how many posts are labelled and how many should be, by month and source, newest month first.

    The target of ``wanted`` labels is distributed over months and sources like the candidates, at least one each. With
    a queue, the target is the complete queue.
    """
    import numpy as np

    cells = candidates.months.astype(np.int64) * 2 + candidates.live
    names, posts = np.unique(cells, return_counts=True)
    share = wanted / (int(posts.sum()) or 1)
    sizes = dict(zip(names.tolist(), posts.tolist(), strict=True))
    targets = {name: min(size, max(1, round(share * size))) for name, size in sizes.items()}
    if candidates.queue:
        queued = cells[candidates.places({entry.offer.thread_id for entry in candidates.queue})]
        targets = {name: int(np.count_nonzero(queued == name)) for name in sizes}
    done: dict[int, list[int]] = {name: [0, 0, 0] for name in sizes}
    rated = {label.thread_id: label.sentiment_rating for label in labels if label.sentiment_rating}
    places = candidates.places(list(rated))
    for thread, cell in zip(candidates.threads[places], cells[places], strict=True):
        done[int(cell)][rated[int(thread)] - 1] += 1
    return [
        Stratum(
            month=f"{name // 2 // 12}-{name // 2 % 12 + 1:02}",
            source="live" if name % 2 else "warosu",
            posts=count,
            target=targets[name],
            done=(done[name][0], done[name][1], done[name][2]),
        )
        for name, count in sorted(sizes.items(), reverse=True)
    ]
