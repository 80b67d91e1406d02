"""Which models' files stay: a year of trainings would be tens of gigabytes of models that were not good enough.

Candidates stay, every champion that there was, so that a person can go back to it (`bizcharts models promote`), what
those were refitted from, and whatever a rented pod was paid for. Of the others, and of what killed trainings have left,
the files are deleted after a week; the rows, figures and decisions stay. A model that was trained here can be trained
again from its data set's posts.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.sentiment.artifact import MODELS, remove_model
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import needed_versions

KEPT = timedelta(days=7)  # also longer than any training takes from its first file to its row


def remove_superseded(database: Database, home: Path, now: datetime) -> tuple[str, ...]:
    """Remove the files of models that nobody needs at ``now`` (naive UTC); return what was removed."""
    with database.read() as connection:
        needed = needed_versions(connection)
    removed = []
    for path in sorted((home / MODELS).glob("*")):
        with suppress(FileNotFoundError):  # a training beside this one has just finished with it
            touched = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
            if path.name not in needed and now - touched > KEPT:
                remove_model(path) if path.is_dir() else path.unlink()
                removed.append(path.name)
    return tuple(removed)
