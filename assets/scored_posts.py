"""Stance scores of the opening posts."""

import dagster as dg
from pydantic import Field

from assets.reporting import Stopwatch, table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.live import SECONDS_PER_TICK
from bizcharts_pipeline.scoring.new_posts import score_for_publication, score_new_posts
from bizcharts_pipeline.warehouse.previews import Preview, strongest_scores
from resources.scorers import Scorers
from resources.warehouse import Warehouse


class ScoredPostsConfig(dg.Config):
    """Number of posts that one run scores."""

    limit: int | None = Field(None, ge=1, description="Maximum number of posts, newest first; null: all waiting ones.")


@dg.asset(
    deps=["catalog_snapshot", "warosu_posts", "image_features", "champion_model"],
    group_name="sentiment",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "One row for each thread and model version: calibrated probabilities of bearish, neutral and bullish. Scores "
        "the posts without a score of the champion, newest first, so any run may be killed and repeated. Until a new "
        "champion has scored all posts, minutely runs score new ones by the model of the published index, too."
    ),
)
def scored_posts(config: ScoredPostsConfig, warehouse: Warehouse, scorers: Scorers) -> dg.MaterializeResult:
    stopwatch = Stopwatch()
    database = warehouse.open_at(utc_now())
    with stopwatch("load model"):
        scorer = scorers.champion(database, SECONDS_PER_TICK if config.limit is not None else None)
    with stopwatch("score and write"):
        report = score_new_posts(database, scorer, limit=config.limit, now=utc_now())
    also = None
    if config.limit is not None:
        with stopwatch("score for the published index"):
            also = score_for_publication(
                database, scorers.place(SECONDS_PER_TICK), report, limit=config.limit, now=utc_now()
            )
    looked_at = {}
    if report.scored:
        with stopwatch("look back"), database.read() as connection:
            looked_at = {"most_decided": table(strongest_scores(connection, report.model_version))}
    return dg.MaterializeResult(
        metadata={
            "posts_scored": report.scored,
            "more_waiting": report.full,
            "mean_score": report.mean_score,
            "mean_confidence": report.mean_confidence,
            "model_version": report.model_version,
            **({"posts_scored_by_the_published_model": also.scored} if also else {}),
            "methods": table(Preview(["method", "posts"], report.methods.most_common())),
            **looked_at,
            **stopwatch.metadata(),
        },
    )
