"""What moved the stance between two moments, explained once for all sessions until the index has changed."""

from datetime import datetime

from bizcharts_pipeline.app.queries.cached import kept_per_index
from bizcharts_pipeline.index.moved import Change, explain_change
from bizcharts_pipeline.live import known_base_rate
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.database import Database


def moved(database: Database, settings: Settings, start: datetime, end: datetime, as_of: datetime | None) -> Change:
    """Explain the change from ``start`` to ``end``, as of a moment (all naive UTC).

    Raises:
        ChangeNotExplained: as :func:`explain_change` does.
        DatabaseError: as :meth:`Database.read` does.
    """

    def explained() -> Change:
        return explain_change(
            database,
            start,
            end,
            settings.fear_greed,
            sorted(NON_CRYPTO_GENERALS),
            lambda model: known_base_rate(database, settings, model, end),
            as_of=as_of,
        )

    return kept_per_index(database, ("moved", start, end, as_of), explained)
