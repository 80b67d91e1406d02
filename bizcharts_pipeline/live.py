"""The live pipeline as plain functions: one tick, with or without Dagster."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bizcharts_pipeline.board.client import FourchanClient
from bizcharts_pipeline.board.ingest import PollReport, poll_catalog
from bizcharts_pipeline.board.spool import Spool
from bizcharts_pipeline.core.attempts import Attempts
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.http.session import PoliteSession
from bizcharts_pipeline.index.clusters import assign_clusters
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.readings import NO_READING
from bizcharts_pipeline.index.update import IndexUpdate, update_index
from bizcharts_pipeline.scoring.champion import base_rate, champion_scorer, current_scorer
from bizcharts_pipeline.scoring.new_posts import ScoringReport, score_for_publication, score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.scorer import Scorer
from bizcharts_pipeline.settings import FearGreedSettings, Settings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.rescoring import published_model
from bizcharts_pipeline.warehouse.scores import any_unscored_since

if TYPE_CHECKING:
    from bizcharts_pipeline.index.moved import Change

POSTS_PER_TICK = 500
NEW_POSTS = timedelta(days=1)  # the published model must have scored all posts of this age for its index to go on
SECONDS_PER_TICK = 10.0  # in which a tick sends questions to a vision model's server


@dataclass(frozen=True)
class LivePipeline:
    """Dependencies of a tick."""

    place: Place
    client: FourchanClient
    spool: Spool
    database: Database
    parameters: FearGreedSettings

    @classmethod
    def from_settings(cls, settings: Settings) -> "LivePipeline":
        """Return the live pipeline of one installation."""
        return cls(
            place=Place.of(settings, SECONDS_PER_TICK),
            client=fourchan_client(
                home=settings.home_path,
                board=settings.board,
                api_url=settings.fourchan_api_url,
                image_url=settings.fourchan_image_url,
                seconds_per_request=settings.fourchan_seconds_per_request,
                contact=settings.contact,
            ),
            spool=catalog_spool(settings.home_path),
            database=Database.from_settings(settings),
            parameters=settings.fear_greed,
        )


@dataclass(frozen=True)
class TickReport:
    """Result of one tick, with the running hour's reading; ``None`` without a value."""

    snapshot_at: datetime
    not_modified: bool
    total_threads: int
    new_threads: int
    changed_threads: int
    recovered_polls: int
    unreadable: tuple[str, ...]
    set_aside: tuple[str, ...]
    posts_scored: int
    model_version: str
    value: float | None
    lo: float | None
    hi: float | None
    stance: float | None
    state: str

    @classmethod
    def of(cls, poll: PollReport, scoring: ScoringReport, index: IndexUpdate) -> "TickReport":
        """Combine the reports of the three stages of a tick."""
        value = lo = hi = stance = None
        state = NO_READING
        if readings := index.readings:
            state, stance = readings.state[-1], float(readings.stance[-1])
            if not math.isnan(readings.value[-1]):
                value, lo, hi = (float(column[-1]) for column in (readings.value, readings.lo, readings.hi))
        return cls(
            snapshot_at=poll.snapshot_at,
            not_modified=poll.result.not_modified,
            total_threads=poll.result.total_threads,
            new_threads=poll.result.new_threads,
            changed_threads=poll.result.changed_threads,
            recovered_polls=poll.recovered_polls,
            unreadable=poll.problems,
            set_aside=poll.set_aside,
            posts_scored=scoring.scored,
            model_version=scoring.model_version,
            value=value,
            lo=lo,
            hi=hi,
            stance=stance,
            state=state,
        )

    def __str__(self) -> str:
        catalog = (
            "nothing new" if self.not_modified else f"{self.new_threads} new of {counted(self.total_threads, 'thread')}"
        )
        mood = self.state if self.stance is None else f"stance {self.stance:+.2f}, {self.state}"
        if self.value is not None:
            mood = f"index {self.value:.0f} ({self.lo:.0f} to {self.hi:.0f}), {self.state}"
        line = f"{self.snapshot_at:%Y-%m-%d %H:%M:%S}  {catalog}, {self.posts_scored} scored, {mood}"
        notes = [*self.set_aside, *(f"in the catalogue: {problem}" for problem in self.unreadable)]
        return "\n".join([line, *(f"    {note}" for note in notes)])


def run_tick(pipeline: LivePipeline, now: datetime, *, everything: bool = False) -> TickReport:
    """Poll, score new posts and update the indexes to ``now``; with ``everything``, score and index all posts.

    Raises:
        SourceError, DatabaseError: as :func:`poll_catalog`; completed steps are stored.
    """
    poll = poll_catalog(pipeline.client, pipeline.spool, pipeline.database, now)
    scorer = champion_scorer(pipeline.database, pipeline.place, now)
    scoring = score_new_posts(pipeline.database, scorer, limit=None if everything else POSTS_PER_TICK, now=now)
    score_for_publication(pipeline.database, pipeline.place, scoring, limit=POSTS_PER_TICK, now=now)
    index = bring_indexes_up_to_date(pipeline.database, scorer, now, pipeline.parameters, everything=everything)
    return TickReport.of(poll, scoring, index)


def bring_indexes_up_to_date(
    database: Database, scorer: Scorer, now: datetime, parameters: FearGreedSettings, *, everything: bool
) -> IndexUpdate:
    """Update the Fear/Greed index and the coins' sentiment to ``now``; non-crypto generals do not count.

    While a new champion has not scored all posts, the published model's index goes on, if that model scores the new
    posts. If it cannot, and a score by some model is there for each post, the champion's index begins with those.
    """
    assign_clusters(database)
    update = partial(
        update_index, database, now=now, parameters=parameters, excluded_generals=sorted(NON_CRYPTO_GENERALS)
    )
    champions = partial(update, model_version=scorer.model_version, full=everything, prior=lambda: base_rate(scorer))
    found = champions()
    if not (found.unscored or found.awaited):
        return found
    with database.read() as connection:
        published = published_model(connection)
        if published and any_unscored_since(connection, published.model_version, now - NEW_POSTS):
            published = None  # it cannot go on
    if published:
        return update(model_version=published.model_version)
    return found if found.unscored else champions(mixed=True)


def explain_moved(
    database: Database, settings: Settings, start: datetime, end: datetime, as_of: datetime | None
) -> "Change":
    """Explain what moved the stance of this installation from ``start`` to ``end``, as of a moment (all naive UTC).

    Raises:
        ChangeNotExplained: as :func:`explain_change` does.
        DatabaseError: as :meth:`Database.read` does.
    """
    from bizcharts_pipeline.index.moved import explain_change  # which no minutely run needs

    def prior(connection: duckdb.DuckDBPyConnection, model_version: str) -> Prior | None:
        scorer = current_scorer(connection, Place(settings.home_path))
        return base_rate(scorer) if scorer.model_version == model_version else None

    excluded = sorted(NON_CRYPTO_GENERALS)
    return explain_change(database, start, end, settings.fear_greed, excluded, prior, as_of=as_of)


def fourchan_client(
    *, home: Path, board: str, api_url: str, image_url: str, seconds_per_request: float, contact: str
) -> FourchanClient:
    """Return a client of the board that keeps its HTTP validators in ``home``."""
    session = PoliteSession(seconds_per_request, contact=contact, validators=home / "http")
    return FourchanClient(session, api_url, image_url, board)


def catalog_spool(home: Path) -> Spool:
    """Return the spool that holds polls until they are in the warehouse."""
    return Spool(home / "spool", Attempts.of_home(home))
