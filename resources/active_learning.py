"""Parameters of the label queue, as a Dagster resource."""

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import ActiveLearningSettings


class ActiveLearning(dg.ConfigurableResource["ActiveLearning"]):
    """The values of ``[ml.active_learning]``."""

    values: dict[str, float] = Field(description="Size and shares by name; docs/methodology.md explains them.")

    def parameters(self) -> ActiveLearningSettings:
        """Return the values, validated."""
        return ActiveLearningSettings.model_validate(self.values)
