"""Scores the posts that have no final score yet, newest first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import duckdb

from bizcharts_pipeline.core.rows import ScoredMention, ScoredPost
from bizcharts_pipeline.scoring.champion import scorer_of
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.scorer import Picture, Post, Score, Scorer, WaitsFor
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.rescoring import AWAITED, is_wanted, published_model
from bizcharts_pipeline.warehouse.scores import (
    WaitingPost,
    posts_to_score_again,
    reasons_to_score_again,
    save_scores,
    unscored_posts,
)

LATE = timedelta(hours=6)  # after which a post's picture is no longer waited for
# A model is loaded to see whether it can run only if the pass has scored something anyway, or has no limit.
_AGAIN: tuple[WaitsFor, ...] = ("picture", "features", "endpoint", "budget", "model")


class Batch(Protocol):
    """Reads a batch of posts to score."""

    def __call__(self, connection: duckdb.DuckDBPyConnection, *, limit: int) -> list[WaitingPost]:
        """Return at most ``limit`` posts, newest first."""
        ...


@dataclass
class ScoringReport:
    """Result of one scoring pass. ``full``: it stopped at its limit, and more posts may be waiting. ``awaited``: there
    are scores by another model, until this one can be asked. ``methods`` counts the posts by how they were scored,
    fallbacks included."""

    model_version: str
    methods: Counter[str] = field(default_factory=Counter)
    full: bool = False
    awaited: bool = False
    scores: float = 0.0  # sum
    confidences: float = 0.0  # sum

    @property
    def scored(self) -> int:
        """The number of posts that this pass of scoring has scored."""
        return self.methods.total()

    @property
    def mean_score(self) -> float | None:
        """The mean score of the posts scored in this pass, -1 to 1; ``None`` without posts."""
        return self.scores / self.scored if self.scored else None

    @property
    def mean_confidence(self) -> float | None:
        """The mean confidence of the scores of this pass, 0 to 1; ``None`` without posts."""
        return self.confidences / self.scored if self.scored else None


def score_new_posts(database: Database, scorer: Scorer, *, limit: int | None, now: datetime) -> ScoringReport:
    """Score the stored posts without a score of this model version, at most ``limit`` (``None``: all), newest first;
    then those whose score waits for something that may have come.

    Each batch is read, scored without an open connection, and written in one transaction, so a killed pass is resumed
    by the next. With a ``limit`` and no new posts, the model is not loaded just to test whether it can run.
    """
    report = ScoringReport(scorer.model_version)
    version = scorer.model_version
    reasons = set[str]()

    def new(connection: duckdb.DuckDBPyConnection, limit: int) -> list[WaitingPost]:
        if not report.scored:  # in the same read: opening the database takes longer
            reasons.update(reasons_to_score_again(connection, version))
        return unscored_posts(connection, version, limit)

    _score(database, scorer, new, None, report, limit, now)
    for reason in (each for each in _AGAIN if each in reasons):
        if reason == "model" and limit is not None and not report.scored:
            continue
        again: Batch = partial(posts_to_score_again, model_version=version, waits_for=reason, late=now - LATE)
        _score(database, scorer, again, reason, report, limit, now)
    report.full = limit is not None and report.scored >= limit
    report.awaited = not reasons.isdisjoint(AWAITED)
    return report


def score_for_publication(
    database: Database, place: Place, report: ScoringReport, *, limit: int, now: datetime
) -> ScoringReport | None:
    """Score the new posts, after a pass of the champion (``report``) that left posts unscored, by the model whose
    readings are published until the champion has scored all.

    Returns ``None`` if nothing was left, or if the published readings are the champion's or of a model that cannot run.
    """
    if not (report.full or report.awaited):
        return None
    with database.read() as connection:
        published = published_model(connection)
    if published is None or published.model_version == report.model_version:
        return None
    scorer = scorer_of(database, published, place)
    return score_new_posts(database, scorer, limit=limit, now=now) if scorer else None


def score_batch(
    scorer: Scorer, batch: Sequence[WaitingPost], now: datetime
) -> tuple[list[ScoredPost], list[ScoredMention]]:
    """Score stored posts, and for each post that names several coins, the sentence with each coin."""
    scores = scorer.score([as_post(post, now) for post in batch])
    posts = [as_row(post, score, scorer.kind) for post, score in zip(batch, scores, strict=True)]
    return posts, score_mentions(scorer, batch)


def score_mentions(scorer: Scorer, batch: Sequence[WaitingPost]) -> list[ScoredMention]:
    """Score, for each stored post that names several coins, the sentence with each coin."""
    several = [
        (post.thread_id, mention)
        for post in batch
        if len(found := find_mentions(post.subject, post.text)) > 1
        for mention in found
    ]
    contexts = scorer.score([Post("", mention.context) for _, mention in several])
    return [
        ScoredMention(thread_id, mention.coin_symbol, score.score, score.confidence)
        for (thread_id, mention), score in zip(several, contexts, strict=True)
    ]


def as_row(post: WaitingPost, score: Score, kind: str) -> ScoredPost:
    """Return the score of a stored post, by a scorer of this kind, as the row that is stored."""
    return ScoredPost(
        post.thread_id,
        score.p_bearish,
        score.p_neutral,
        score.p_bullish,
        score.score,
        score.confidence,
        score.method or kind,
        score.waits_for,
    )


def as_post(post: WaitingPost, now: datetime) -> Post:
    """Return a stored post that is to be scored as scorers see it."""
    return Post(post.subject, post.text, post.thread_id, picture_of(post, now), post.posted_at)


def picture_of(post: WaitingPost, now: datetime) -> Picture | None:
    """Return the picture of a post that is to be scored as scorers see it."""
    row = post.picture
    if row is None:
        return None
    if row.status == "stored" and row.path is not None:
        return Picture("stored", Path(row.path), row.sha256, row.nsfw, row.features)
    if row.status is None or (row.status == "failed" and not row.given_up):
        return Picture("waiting" if post.posted_at > now - LATE else "late")
    return Picture("blocked" if row.status == "blocked" else "removed", features=row.features)


def _score(
    database: Database,
    scorer: Scorer,
    batch: Batch,
    reason: WaitsFor | None,
    report: ScoringReport,
    limit: int | None,
    now: datetime,
) -> None:
    """Score batches until none is left, until a batch has posts that still wait for ``reason``, or until the model's
    scores are no longer wanted."""
    while limit is None or report.scored < limit:
        size = scorer.batch if limit is None else min(scorer.batch, limit - report.scored)
        with database.read() as connection:
            waiting = batch(connection, limit=size) if is_wanted(connection, scorer.model_version) else []
        if not waiting:
            return
        posts, mentions = score_batch(scorer, waiting, now)
        ready = [post for post in posts if reason is None or post.waits_for != reason or not post.replaced]
        if ready:
            changed = {post.thread_id for post in ready}
            with database.write() as connection:
                save_scores(
                    connection, scorer.model_version, ready, [m for m in mentions if m.thread_id in changed], now
                )
        report.methods.update(post.method for post in ready)
        report.scores += sum(post.score for post in ready)
        report.confidences += sum(post.confidence for post in ready)
        if len(waiting) < size or len(ready) < len(posts):
            return
