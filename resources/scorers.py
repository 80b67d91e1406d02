"""The scoring models, as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.sentiment.champion import champion_scorer
from bizcharts_pipeline.sentiment.scorer import Scorer
from bizcharts_pipeline.warehouse.database import Database


class Scorers(dg.ConfigurableResource["Scorers"]):
    """Provides the champion of `model_versions`, the same one for a whole run."""

    home: str = Field(description="The installation's home; contains the trained models.")

    _champion: Scorer | None = PrivateAttr(default=None)

    def champion(self, database: Database) -> Scorer:
        """Return the champion's scorer."""
        if self._champion is None:
            self._champion = champion_scorer(database, Path(self.home), utc_now())
        return self._champion
