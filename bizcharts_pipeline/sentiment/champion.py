"""Selects the scorer in use: the champion model, or the lexicon."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path

import duckdb

from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Post, Score, Scorer
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, ensure_lexicon_champion
from bizcharts_pipeline.warehouse.scores import fallback_method

_log = logging.getLogger(__name__)


class ChampionScorer:
    """The champion, loaded with the first post; replaced by the lexicon if it cannot run on this machine.

    ``kind`` becomes the scores' ``method``; after the first score it shows which of the two was used.
    """

    def __init__(self, champion: ModelVersion, home: Path) -> None:
        """Prepare the scorer; nothing is read yet."""
        self.kind = champion.kind
        self.model_version = champion.model_version
        self._folder = home / (champion.path or "")
        self._sha256 = champion.sha256 or ""
        self._scorer: Scorer | None = None

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one score for each post, in order."""
        if not posts:
            return []
        if self._scorer is None:
            self._scorer = self._load()
        return self._scorer.score(posts)

    def _load(self) -> Scorer:
        try:
            return _loaded(self._folder, self._sha256)
        # Posts must be scored in every case, whatever exception a model or another library version raises.
        except Exception as error:
            _log.warning(
                "The champion %s cannot run on this machine: %s. The lexicon is used instead; its posts are "
                "scored again when the champion can run.",
                self.model_version,
                error,
            )
            self.kind = fallback_method(self.model_version)
            return _lexicon()


def champion_scorer(database: Database, home: Path, now: datetime) -> Scorer:
    """Return the champion of ``model_versions``; the lexicon, registered on first use, until another model is promoted.

    This takes one query: a trained model is loaded with its first post. ``home`` is the installation's; models are
    below it.
    """
    with database.read() as connection:
        current = champion(connection)
    scorer = _scorer_of(current, home)
    if isinstance(scorer, LexiconScorer) and (current is None or current.model_version != scorer.model_version):
        with database.write() as connection:
            ensure_lexicon_champion(connection, scorer.model_version, scorer.sha256, now)
    return scorer


def current_scorer(connection: duckdb.DuckDBPyConnection, home: Path) -> Scorer:
    """Return the same as :func:`champion_scorer`, for readers: nothing is registered."""
    return _scorer_of(champion(connection), home)


def _scorer_of(current: ModelVersion | None, home: Path) -> Scorer:
    return _lexicon() if current is None or current.shipped else ChampionScorer(current, home)


@cache
def _lexicon() -> LexiconScorer:
    return LexiconScorer()


@lru_cache(maxsize=1)
def _loaded(folder: Path, sha256: str) -> Scorer:
    from bizcharts_pipeline.sentiment.loading import load_scorer

    return load_scorer(folder, sha256)
