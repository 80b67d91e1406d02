"""Labelling by people, as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.settings import LabellingSettings


class Labelling(dg.ConfigurableResource["Labelling"]):
    """The label ledger, and the values of ``[labelling]``."""

    home: str = Field(description="The installation's home; contains the label ledger.")
    values: dict[str, Any] = Field(description="Gold split, relabels and data set: the values of `[labelling]`.")

    def home_path(self) -> Path:
        """Return the installation's home folder."""
        return Path(self.home)

    def ledger(self) -> LabelLedger:
        """Return the label ledger; it is opened only on use."""
        return LabelLedger(self.home_path() / LEDGER)

    def settings(self) -> LabellingSettings:
        """Return the values of ``[labelling]``, validated."""
        return LabellingSettings.model_validate(self.values)
