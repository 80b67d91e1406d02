"""Leak check of a model: searches its list of training posts for gold.

A gold post frozen after the model's data set was made is not a leak, but does not count in that model's evaluation.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.labels.corpus import load_posts
from bizcharts_pipeline.labels.gold import gold_content
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import contaminated
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON
from bizcharts_pipeline.training.gold_set import GoldSet
from bizcharts_pipeline.training.text_set import seen_text_digest, text_digest
from bizcharts_pipeline.warehouse.database import Database

MAX_NAMED = 5  # threads in a message


@dataclass(frozen=True)
class Exposure:
    """The gold posts that a model was trained on, by thread. ``unchecked`` is why that cannot be determined, if so."""

    leaked: frozenset[int]  # already gold when the data set was made
    late: frozenset[int]  # frozen later
    copies: frozenset[int]  # of both, those of which only a near-duplicate was used for training
    unchecked: str | None

    @property
    def seen(self) -> frozenset[int]:
        """The gold posts that do not count in the model's evaluation."""
        return self.leaked | self.late

    @property
    def problem(self) -> str | None:
        """Why the model must not be promoted; ``None`` if it may."""
        if self.leaked:
            kinds = ((self.leaked - self.copies, "threads"), (self.leaked & self.copies, "near-duplicates of threads"))
            return "trained on gold: " + "; ".join(f"{name} {_listed(threads)}" for threads, name in kinds if threads)
        return self.unchecked


def exposure(database: Database, home: Path, folder: Path, learned_at: datetime | None, gold: GoldSet) -> Exposure:
    """Return the gold posts that the model in ``folder`` was trained on: the posts, equal texts, or near-duplicates.

    ``learned_at`` is when its data set was made (:func:`warehouse.models.learned_at`); with ``None`` (unknown) all gold
    counts as older.
    """
    try:
        rows = json.loads(read_regular(folder / TRAINED_ON))
        threads = {int(row["thread_id"]) for row in rows}
        texts = {str(row["text_sha256"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _unchecked(f"its data set is unknown, so it may contain gold ({reason_of(error):.120})")
    if not threads:
        return _unchecked(f"its data set is unknown, so it may contain gold ({TRAINED_ON} is empty)")
    ledger = LabelLedger(home / LEDGER)
    with database.read() as connection:
        posts = gold_content(load_posts(connection, threads), threads, ledger)
    itself = threads & {post.thread_id for post in gold.posts}
    written = [example for example in gold.examples if example.post.subject or example.post.text]
    same_text = {
        example.thread_id
        for example in written
        if not texts.isdisjoint((text_digest(example.post), seen_text_digest(example.post)))
    }
    copies = (same_text | contaminated(gold.posts, posts)) - itself
    seen = itself | copies
    late = {thread for thread in seen if learned_at is not None and gold.frozen_at[thread] > learned_at}
    unknown = len(threads) - len(posts)
    return Exposure(
        frozenset(seen - late),
        frozenset(late),
        frozenset(copies),
        f"{unknown} of its training posts are unknown here, so copies of gold among them cannot be detected"
        if unknown
        else None,
    )


def _unchecked(why: str) -> Exposure:
    return Exposure(frozenset(), frozenset(), frozenset(), why)


def _listed(threads: Collection[int]) -> str:
    first: Sequence[int] = sorted(threads)[:MAX_NAMED]
    more = len(threads) - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")
