"""Leak check of a model: searches its list of training posts for gold.

A gold post frozen after the model's data set was made is not a leak, but does not count in that model's evaluation.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.gold import gold_content
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.near_duplicates import contaminated
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON, training_posts
from bizcharts_pipeline.training.gold_set import GoldSet
from bizcharts_pipeline.training.text_set import seen_text_digest, text_digest
from bizcharts_pipeline.warehouse.database import Database

MAX_NAMED = 5  # threads in a message


@dataclass(frozen=True)
class Exposure:
    """The gold posts that a model was trained on, by thread. ``unchecked`` is why that cannot be determined, if so."""

    leaked: frozenset[int]  # already gold when the data set was made
    late: frozenset[int]  # frozen later
    copies: frozenset[int]  # of both, those of which only a near-duplicate was used for training, by text
    pictures: frozenset[int]  # of both, those of which only the picture was used for training, with another text
    unchecked: str | None

    @property
    def seen(self) -> frozenset[int]:
        """The gold posts that do not count in the model's evaluation."""
        return self.leaked | self.late

    @property
    def problem(self) -> str | None:
        """Why the model must not be promoted because of leaked gold; ``None`` if it may."""
        if self.leaked:
            kinds = (
                (self.leaked - self.copies - self.pictures, "threads"),
                (self.leaked & self.copies, "near-duplicates of threads"),
                (self.leaked & self.pictures, "the pictures of threads"),
            )
            return "trained on gold: " + "; ".join(f"{name} {_listed(threads)}" for threads, name in kinds if threads)
        return self.unchecked


def exposure(database: Database, home: Path, folder: Path, learned_at: datetime | None, gold: GoldSet) -> Exposure:
    """Return the gold posts that the model in ``folder`` was trained on: the posts, equal texts, or near-duplicates by
    text or picture.

    ``learned_at`` is when its data set was made (:func:`warehouse.models.learned_at`); with ``None`` (unknown) all gold
    counts as older. A row that the model inherited from the one that its training started from has its own time.
    """
    try:
        chosen: dict[datetime | None, list[tuple[int, str]]] = {}
        for row in training_posts(folder):
            at = datetime.fromisoformat(row["learned_at"]) if "learned_at" in row else learned_at
            chosen.setdefault(at, []).append((int(row["thread_id"]), str(row["text_sha256"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _unchecked(f"its data set is unknown, so it may contain gold ({reason_of(error):.120})")
    if not chosen:
        return _unchecked(f"its data set is unknown, so it may contain gold ({TRAINED_ON} is empty)")
    ledger = LabelLedger(home / LEDGER)
    leaked, late, copies, pictures = set[int](), set[int](), set[int](), set[int]()
    unknown = 0
    for at, rows in chosen.items():
        threads = {thread for thread, _ in rows}
        with database.read() as connection:
            posts = gold_content(load_posts(connection, threads), threads, ledger)
        unknown += len(threads) - len(posts)
        itself = threads & {post.thread_id for post in gold.posts}
        same_text = _with_text(gold, {text for _, text in rows})
        copied = (same_text | contaminated(gold.posts, posts)) - itself
        perhaps = [post for post in gold.posts if post.thread_id in copied - same_text]
        pictured = {post.thread_id for post in perhaps} - contaminated(
            _without_pictures(perhaps), _without_pictures(posts)
        )
        later = {thread for thread in itself | copied if at is not None and gold.frozen_at[thread] > at}
        leaked |= (itself | copied) - later
        late |= later
        copies |= copied - pictured
        pictures |= pictured
    return Exposure(
        frozenset(leaked),
        frozenset(late - leaked),
        frozenset(copies),
        frozenset(pictures - copies),
        f"{unknown} of its training posts are unknown here, so copies of gold among them cannot be detected"
        if unknown
        else None,
    )


def _with_text(gold: GoldSet, texts: Collection[str]) -> set[int]:
    """Return the gold posts whose text has one of these digests."""
    written = [example for example in gold.examples if example.post.subject or example.post.text]
    return {
        example.thread_id
        for example in written
        if text_digest(example.post) in texts or seen_text_digest(example.post) in texts
    }


def _unchecked(why: str) -> Exposure:
    return Exposure(frozenset(), frozenset(), frozenset(), frozenset(), why)


def _without_pictures(posts: Sequence[Post]) -> list[Post]:
    return [replace(post, picture=None) for post in posts]


def _listed(threads: Collection[int]) -> str:
    first: Sequence[int] = sorted(threads)[:MAX_NAMED]
    more = len(threads) - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")
