"""The paid labelling models, as a Dagster resource. Keys are read from the environment when used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from bizcharts_pipeline.autolabel.report import Estimate
    from bizcharts_pipeline.autolabel.run import Labelling

SECTIONS = ("auto_labels", "openai", "gemini", "images", "fear_greed")


class AutoLabelling(dg.ConfigurableResource["AutoLabelling"]):
    """The providers, the budget, and the ledger of labels by models; see docs/auto-labels.md."""

    home: str = Field(description="The installation's home; contains the ledger.")
    values: dict[str, dict[str, Any]] = Field(
        description="The settings of [auto_labels], [openai], [gemini], [images] and [fear_greed], by section."
    )

    def settings(self) -> Settings:
        """Return the settings used in labelling, validated; the others have their defaults."""
        return Settings.model_validate({"home": self.home, **self.values})

    def home_path(self) -> Path:
        """Return the installation's home folder."""
        return Path(self.home)

    def batches_under_way(self) -> bool:
        """Return whether a batch of a configured model may have to be collected."""
        from bizcharts_pipeline.autolabel.estimate import configured_models
        from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
        from bizcharts_pipeline.autolabel.ledger_batches import any_under_way
        from bizcharts_pipeline.core.ledgers import is_known

        path = self.home_path() / LEDGER
        if not is_known(path):
            return False
        with AutoLabelLedger(path) as ledger:
            return any_under_way(ledger, configured_models(self.settings()))

    def missing_keys(self) -> list[str]:
        """Return, for each provider without a key, a hint how to set it; the others are used nevertheless."""
        from bizcharts_pipeline.autolabel.providers import missing_keys

        return missing_keys(self.settings())

    @contextmanager
    def opened(self, database: Database) -> "Iterator[Labelling]":
        """Yield the labelling with open providers, which are closed at the end.

        Raises:
            KeyMissing: no provider has a key.
            AutoLabelError: an address cannot be used.
        """
        from bizcharts_pipeline.autolabel.providers import open_providers
        from bizcharts_pipeline.autolabel.run import Labelling

        settings = self.settings()
        providers = open_providers(settings)
        try:
            yield Labelling(database, self.home_path(), settings, providers, utc_now)
        finally:
            for provider in providers.values():
                provider.close()

    def estimate(self, database: Database) -> "Estimate":
        """Return the estimated cost of a run; nothing is sent, and no key is needed."""
        from bizcharts_pipeline.autolabel.estimate import estimate

        return estimate(database, self.home_path(), self.settings(), utc_now())
