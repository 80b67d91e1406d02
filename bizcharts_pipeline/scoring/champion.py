"""Selects the scorer in use: the champion, and where it cannot run the best of the other text models."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.scoring.place import VISION_BATCH, Place
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import BATCH, Post, Score, Scorer, instead_of
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, ensure_lexicon_champion, evaluated_models

if TYPE_CHECKING:
    from bizcharts_pipeline.scoring.vision import VisionScorer

_log = logging.getLogger(__name__)

VISION_KINDS = {"qlora"}  # run on a server: docs/vision-scoring.md


class ChampionScorer:
    """The champion, loaded with the first post; replaced by the best text model if it cannot run on this machine."""

    def __init__(self, champion: ModelVersion, others: Sequence[ModelVersion], place: Place) -> None:
        """Prepare the scorer; nothing is read yet. ``others``: the models to use instead, best first."""
        self.kind, self.model_version = champion.kind, champion.model_version
        self.batch = VISION_BATCH if champion.kind in VISION_KINDS else BATCH
        self._champion, self._others, self._place = champion, others, place
        self._scorer: Scorer | None = None

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return the champion's score for each post, in order, or that of the model which replaces it."""
        if not posts:
            return []
        if self._scorer is None:
            self._scorer = self._load()
        return self._scorer.score(posts)

    def _load(self) -> Scorer:
        try:
            if self._champion.kind in VISION_KINDS:
                return self.vision()
            return _loaded(self._place.home, self._champion.path or "", self._champion.sha256 or "")
        # Posts must be scored in every case, whatever exception a model or another library version raises.
        except Exception as error:
            instead = self._text_model()
            _log.warning(
                "The champion %s cannot run on this machine: %s. The %s is used instead; its posts are scored again "
                "when the champion can run.",
                self.model_version,
                str(error).rstrip("."),
                instead.kind,
            )
            return _Replaced(instead, self.model_version)

    def vision(self) -> "VisionScorer":
        """Return the scorer of the vision model on its server.

        Raises:
            NoServer, NoEndpoint, AccessDenied, PodLedgerError: its server cannot be asked.
            CorruptModel: its files differ from the registered ones.
        """
        if not self._place.vision.endpoint:
            raise NoServer("it reads pictures on a server, and `endpoint` of [vision] names none")
        from bizcharts_pipeline.scoring.vision import vision_scorer

        return vision_scorer(self._champion, self._place, self._text_model())

    def _text_model(self) -> Scorer:
        """Return the best text model that can run here; the lexicon always can."""
        for other in self._others:
            if other.shipped:
                break
            try:
                return _loaded(self._place.home, other.path or "", other.sha256 or "")
            except Exception as error:
                _log.warning(
                    "The model %s cannot run on this machine either: %s.", other.model_version, str(error).rstrip(".")
                )
        return _lexicon()


class _Replaced:
    """Scores by another model in place of the champion, until that can run."""

    def __init__(self, scorer: Scorer, model_version: str) -> None:
        self.kind, self.model_version, self.batch = scorer.kind, model_version, scorer.batch
        self._scorer = scorer

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one score for each post, in order."""
        return instead_of(self.model_version, self._scorer, posts, ["model"] * len(posts))


class NoServer(BizchartsError):
    """The model runs on a server, and none is configured."""


def champion_scorer(database: Database, place: Place, now: datetime) -> Scorer:
    """Return the scorer of the champion of ``model_versions``; the lexicon, registered on first use, until another
    model is promoted.

    This takes one query: a trained model is loaded with its first post.
    """
    with database.read() as connection:
        current, others = _chosen(connection)
    scorer = _scorer_of(current, others, place)
    if isinstance(scorer, LexiconScorer) and (current is None or current.model_version != scorer.model_version):
        with database.write() as connection:
            ensure_lexicon_champion(connection, scorer.model_version, scorer.sha256, now)
    return scorer


def scorer_of(database: Database, version: ModelVersion, place: Place) -> Scorer | None:
    """Return the scorer of any registered model; ``None`` for the lexicon of another version of the program.

    Where it cannot run on this machine, its ``score`` works as the champion's does.
    """
    with database.read() as connection:
        others = text_models(connection, version.model_version)
    scorer = _scorer_of(version, others, place)
    return scorer if scorer.model_version == version.model_version else None


def base_rate(scorer: Scorer) -> Prior:
    """Return the prior of the index of a scorer, such as the champion: its score of a post without text."""
    (score,) = scorer.score([Post("", "")])
    return Prior(score.score, score.p_bullish + score.p_bearish - score.score**2)


def current_scorer(connection: duckdb.DuckDBPyConnection, place: Place) -> Scorer:
    """Return the same as :func:`champion_scorer`, for readers: nothing is registered."""
    return _scorer_of(*_chosen(connection), place)


def _chosen(connection: duckdb.DuckDBPyConnection) -> tuple[ModelVersion | None, list[ModelVersion]]:
    current = champion(connection)
    if current is None or current.shipped:
        return current, []
    return current, text_models(connection, current.model_version)


def text_models(connection: duckdb.DuckDBPyConnection, besides: str) -> list[ModelVersion]:
    """Read from the database the models that can replace the version ``besides`` where that cannot score, best
    first."""
    return [model for model in evaluated_models(connection, besides) if model.kind not in VISION_KINDS]


def _scorer_of(current: ModelVersion | None, others: Sequence[ModelVersion], place: Place) -> Scorer:
    if current is None or current.shipped:
        return _lexicon()
    return ChampionScorer(current, others, place)


@cache
def _lexicon() -> LexiconScorer:
    return LexiconScorer()


@lru_cache(maxsize=2)  # the champion, and what replaces it
def _loaded(home: Path, path: str, sha256: str) -> Scorer:
    from bizcharts_pipeline.sentiment.loading import load_scorer

    return load_scorer(home / path, sha256, home)
