"""Progress of a new champion through the stored posts; the former model's index is published until it has ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.warehouse.models import ModelVersion, champion, model
from bizcharts_pipeline.warehouse.values import literal

_PUBLISHED = """
SELECT arg_max(model_version, (bucket_start, computed_at)) FROM fear_greed_index WHERE final AND bucket = 'hour'
"""
# Scores by another model, until this one can be asked. Those that wait for a picture are few, and of new posts.
AWAITED = ("budget", "endpoint", "model")
_AWAITED = f"SELECT thread_id FROM scored_posts WHERE model_version = {{version}} AND waits_for IN {AWAITED}"
_PROGRESS = f"""
SELECT count(*) FILTER (waits), count(*) FILTER (recent), count(*) FILTER (recent AND NOT waits)
FROM (SELECT sentiment_model_version IS DISTINCT FROM {{version}} OR thread_id IN ({_AWAITED}) AS waits,
             posted_at >= {{since}} AS recent
      FROM thread_ops)
"""


@dataclass(frozen=True)
class Rescoring:
    """A champion that has not scored all posts yet."""

    model_version: str
    published: str  # the model version whose readings are published until then
    posts_left: int
    window: float  # share of the posts of the normalisation window that it has scored, 0 to 1

    def __str__(self) -> str:
        left = f"{self.posts_left:,} post{'' if self.posts_left == 1 else 's'}"
        return (
            f"The index is still that of {self.published}: {self.model_version} takes over when it has scored all "
            f"posts. {left} are left; of the period in which the index is ranked, {self.window:.0%} are scored."
        )


def published_model(connection: duckdb.DuckDBPyConnection) -> ModelVersion | None:
    """Read from the database the model whose final hour is the newest; ``None``: there is none yet, or it is not
    registered.
    """
    version = _published(connection)
    return model(connection, version) if version else None


def is_wanted(connection: duckdb.DuckDBPyConnection, model_version: str) -> bool:
    """Whether scores and readings of a model are wanted: it is the champion, or its readings are the published ones.

    A run that began with another champion asks this again, as a person may have gone back to the former one meanwhile.
    """
    present = champion(connection)
    if present is None or present.model_version == model_version:
        return True
    return _published(connection) == model_version


def has_to_wait(connection: duckdb.DuckDBPyConnection, model_version: str) -> bool:
    """Whether readings of another model are published, and some of the scores that the database has of
    ``model_version`` are another model's until this one can be asked.
    """
    if _published(connection) in (None, model_version):
        return False
    row = connection.execute(f"SELECT EXISTS ({_AWAITED.format(version=literal(model_version))})").fetchone()
    return bool(row and row[0])


def rescoring(connection: duckdb.DuckDBPyConnection, now: datetime, history_days: int) -> Rescoring | None:
    """Read from the database how far the champion has got with scoring the stored posts (``now`` is naive UTC);
    ``None`` if the published readings are its own.
    """
    present, published = champion(connection), published_model(connection)
    if present is None or published is None or present.model_version == published.model_version:
        return None
    since = literal(now - timedelta(days=history_days))
    row = connection.execute(_PROGRESS.format(version=literal(present.model_version), since=since)).fetchone()
    assert row
    left, recent, done = row
    return Rescoring(present.model_version, published.model_version, left, done / recent if recent else 1.0)


def _published(connection: duckdb.DuckDBPyConnection) -> str | None:
    row = connection.execute(_PUBLISHED).fetchone()
    return row[0] if row else None
