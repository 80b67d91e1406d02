"""Retention periods, as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import RetentionSettings


class Retention(dg.ConfigurableResource["Retention"]):
    """The values of ``[retention]``, and the location of pictures and label ledgers."""

    home: str = Field(description="The installation's home.")
    values: dict[str, int] = Field(description="Periods in days by name; 0: no limit. See docs/operating.md.")

    def home_path(self) -> Path:
        """Return the installation's home folder."""
        return Path(self.home)

    def policy(self) -> RetentionSettings:
        """Return the periods, validated."""
        return RetentionSettings.model_validate(self.values)
