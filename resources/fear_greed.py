"""The index's parameters as a Dagster resource, so that the UI shows them."""

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import FearGreedSettings


class FearGreed(dg.ConfigurableResource["FearGreed"]):
    """The values of ``[fear_greed]``."""

    values: dict[str, float] = Field(description="Parameters by name; docs/methodology.md has their formulas.")

    def parameters(self) -> FearGreedSettings:
        """Return the parameters, validated."""
        return FearGreedSettings.model_validate(self.values)
