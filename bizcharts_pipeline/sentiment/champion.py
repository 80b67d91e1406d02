"""Which scorer's numbers count."""

from datetime import datetime
from functools import cache

from bizcharts_pipeline.errors import BizchartsError
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Scorer
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import champion, ensure_lexicon_champion


class NoScorer(BizchartsError):
    """There is no code here for the champion's kind."""


@cache
def _lexicon() -> LexiconScorer:
    return LexiconScorer()


def champion_scorer(database: Database, now: datetime) -> Scorer:
    """Return the champion of ``model_versions``; the lexicon, registered on first use, until another model earns it.

    Raises:
        NoScorer: the champion is of a kind that this version cannot run.
    """
    scorer = _lexicon()
    with database.read() as connection:
        current = champion(connection)
    if current is not None and current.kind != scorer.kind:
        raise NoScorer(
            f"The champion {current.model_version} is of kind {current.kind!r}, which this version cannot run"
        )
    if current is None or current.model_version != scorer.model_version:
        with database.write() as connection:
            ensure_lexicon_champion(connection, scorer.model_version, scorer.sha256, now)
    return scorer
