"""What moved the stance between two moments, explained once for all sessions until the index has changed."""

from datetime import datetime

from bizcharts_pipeline.app.queries.cached import kept_per_index
from bizcharts_pipeline.index.moved import Change
from bizcharts_pipeline.live import explain_moved
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database


def moved(database: Database, settings: Settings, start: datetime, end: datetime, as_of: datetime | None) -> Change:
    """Return for the app's page "What moved it" the result of :func:`explain_moved`, which also says what is raised."""
    key = ("moved", start, end, as_of)
    return kept_per_index(database, key, lambda: explain_moved(database, settings, start, end, as_of))
