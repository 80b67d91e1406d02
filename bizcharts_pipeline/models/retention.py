"""Retention of model files: a year of trainings would take tens of gigabytes of models that were not good enough.

Kept are candidates, all past champions (for a rollback by `bizcharts models promote`), the versions that those were
refitted from, and all results of rented pods. The files of other models, and leftovers of killed trainings, are deleted
after a week; rows, metrics and decisions stay. A model trained on this machine can be trained again from the posts of
its data set.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.sentiment.artifact import MODELS, remove_model
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import needed_versions

KEPT = timedelta(days=7)  # also longer than any training takes from its first file to its row


def remove_superseded(database: Database, home: Path, now: datetime) -> tuple[str, ...]:
    """Remove the files of models no longer needed at ``now`` (naive UTC); return the models' names."""
    with database.read() as connection:
        needed = needed_versions(connection)
    removed = []
    for path in sorted((home / MODELS).glob("*")):
        with suppress(FileNotFoundError):  # a concurrent training has just removed it
            touched = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
            if path.name not in needed and now - touched > KEPT:
                remove_model(path) if path.is_dir() else path.unlink()
                removed.append(path.name)
    return tuple(removed)
