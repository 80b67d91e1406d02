"""The scoring models, as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.scorer import Scorer
from bizcharts_pipeline.settings import ImageSettings, VisionSettings
from bizcharts_pipeline.warehouse.database import Database


class Scorers(dg.ConfigurableResource["Scorers"]):
    """Provides the champion of `model_versions`, the same one for a whole run."""

    home: str = Field(description="The installation's home; contains the trained models.")
    vision: dict[str, Any] = Field(default={}, description="The settings of [vision].")
    images: dict[str, Any] = Field(default={}, description="The settings of [images].")

    _champion: Scorer | None = PrivateAttr(default=None)

    def champion(self, database: Database, seconds: float | None = None) -> Scorer:
        """Return the champion's scorer. ``seconds``: as in :class:`Place`."""
        if self._champion is None:
            self._champion = champion_scorer(database, self.place(seconds), utc_now())
        return self._champion

    def place(self, seconds: float | None = None) -> Place:
        """Return where models run. ``seconds``: as in :class:`Place`."""
        return Place(
            Path(self.home),
            VisionSettings.model_validate(self.vision),
            ImageSettings.model_validate(self.images),
            seconds,
        )
