"""Scoring what has no score yet, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.core.rows import ScoredMention, ScoredPost
from bizcharts_pipeline.sentiment.scorer import Post, Scorer
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.scores import (
    UnscoredPost,
    fallback_method,
    fallback_scored_posts,
    save_scores,
    unscored_posts,
)

BATCH = 5_000


@dataclass(frozen=True)
class ScoringReport:
    """What one scoring pass did. ``full`` says that it stopped at its limit and more may be waiting; ``method`` is what
    the scores were made with, which says so where a fall-back had to."""

    model_version: str
    method: str
    scored: int
    full: bool
    mean_score: float | None
    mean_confidence: float | None


def score_new_posts(database: Database, scorer: Scorer, *, limit: int | None, now: datetime) -> ScoringReport:
    """Score the posts without a score of this model version, at most ``limit`` (``None``: all), newest first; then
    those that a fall-back has scored in its place, if it can score itself now.

    Each batch is read, scored with no connection open, and written in one transaction: a killed pass goes on where
    it was. Where nothing new waits and there is a ``limit``, no model is loaded to see whether it could be.
    """
    scores: list[float] = []
    confidences: list[float] = []
    for waiting in (unscored_posts, fallback_scored_posts):
        rescoring = waiting is fallback_scored_posts
        if rescoring and limit is not None and not scores:
            break
        while limit is None or len(scores) < limit:
            size = BATCH if limit is None else min(BATCH, limit - len(scores))
            with database.read() as connection:
                batch = waiting(connection, scorer.model_version, size)
            if not batch:
                break
            posts, mentions = score_batch(scorer, batch)
            if rescoring and scorer.kind == fallback_method(scorer.model_version):
                break
            with database.write() as connection:
                save_scores(connection, scorer.model_version, posts, mentions, now)
            scores.extend(post.score for post in posts)
            confidences.extend(post.confidence for post in posts)
            if len(batch) < size:
                break
    count = len(scores)
    return ScoringReport(
        model_version=scorer.model_version,
        method=scorer.kind,
        scored=count,
        full=limit is not None and count >= limit,
        mean_score=sum(scores) / count if count else None,
        mean_confidence=sum(confidences) / count if count else None,
    )


def score_batch(scorer: Scorer, batch: Sequence[UnscoredPost]) -> tuple[list[ScoredPost], list[ScoredMention]]:
    """Score posts, and for each post that names several coins the sentence that holds each."""
    scores = scorer.score([Post(post.subject, post.text) for post in batch])
    method = scorer.kind  # known for sure once something was scored
    posts = [
        ScoredPost(post.thread_id, s.p_bearish, s.p_neutral, s.p_bullish, s.score, s.confidence, method)
        for post, s in zip(batch, scores, strict=True)
    ]
    several = [
        (post.thread_id, mention)
        for post in batch
        if len(found := find_mentions(post.subject, post.text)) > 1
        for mention in found
    ]
    contexts = scorer.score([Post("", mention.context) for _, mention in several])
    mentions = [
        ScoredMention(thread_id, mention.coin_symbol, score.score, score.confidence)
        for (thread_id, mention), score in zip(several, contexts, strict=True)
    ]
    return posts, mentions
