"""Scores posts with a vision model that is not the champion, on the server that would serve it as champion.

Client, ledger, budget of a day and brake are those of the champion. The scores are stored under the model's version
with each batch, and the ledger keeps the answers: neither a repetition nor the model as champion sends these questions
again.
"""

from collections.abc import Sequence
from datetime import datetime

from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.scoring.champion import ChampionScorer, text_models
from bizcharts_pipeline.scoring.new_posts import as_post, as_row, score_mentions
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.scoring.vision import VisionScorer, place_for
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import ModelVersion
from bizcharts_pipeline.warehouse.scores import WaitingPost, save_scores


def vision_candidate(database: Database, candidate: ModelVersion, place: Place) -> VisionScorer:
    """Return the scorer of a registered vision model as it would be if the model were the champion.

    Raises:
        NoServer, NoEndpoint, AccessDenied, PodLedgerError: its server cannot be asked.
        CorruptModel: its files differ from the registered ones.
    """
    with database.read() as connection:
        others = text_models(connection, candidate.model_version)
    return ChampionScorer(candidate, others, place_for(place, candidate.model_version)).vision()


def score_beside(
    database: Database, scorer: VisionScorer, posts: Sequence[WaitingPost], now: datetime, track: Track = silently
) -> dict[int, Score]:
    """Score stored posts with a vision model, store the scores under its version, and return them by thread.

    A post that the model itself has not scored is left out: one whose picture is awaited, or that got no usable answer.
    """
    found: dict[int, Score] = {}
    starts = range(0, len(posts), scorer.batch)
    for first in track(starts, "Posts that the vision model has not scored are sent to its server", len(starts)):
        batch = posts[first : first + scorer.batch]
        scores = scorer.own_scores([as_post(post, now) for post in batch])
        own = [(post, score) for post, score in zip(batch, scores, strict=True) if score is not None]
        if not own:
            continue
        rows = [as_row(post, score, scorer.kind) for post, score in own]
        mentions = score_mentions(scorer, [post for post, _ in own])
        with database.write() as connection:
            save_scores(connection, scorer.model_version, rows, mentions, now)
        found |= {post.thread_id: score for post, score in own}
    return found
