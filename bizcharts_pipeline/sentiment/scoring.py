"""Scores posts that have no score yet, newest first."""

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
    """Result of one scoring pass. ``full``: it stopped at its limit, and more posts may be waiting. ``method`` names
    the scorer actually used, including a fallback."""

    model_version: str
    method: str
    scored: int
    full: bool
    mean_score: float | None
    mean_confidence: float | None


def score_new_posts(database: Database, scorer: Scorer, *, limit: int | None, now: datetime) -> ScoringReport:
    """Score the posts without a score of this model version, at most ``limit`` (``None``: all), newest first; then
    those that a fallback has scored, if the model itself can run now.

    Each batch is read, scored without an open connection, and written in one transaction, so a killed pass is resumed
    by the next. With a ``limit`` and no new posts, the model is not loaded just to test whether it can run.
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
    """Score posts, and for each post that names several coins, the sentence with each coin."""
    scores = scorer.score([Post(post.subject, post.text) for post in batch])
    method = scorer.kind  # final only after the first score
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
