"""The price hosts as a Dagster resource. Keys are read from the environment for each request, and kept nowhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.prices import Rotation, polite_session, price_rotation
from bizcharts_pipeline.settings import PriceSettings
from bizcharts_pipeline.sources.http import PoliteSession


class Prices(dg.ConfigurableResource["Prices"]):
    """The sources of prices in their order, with their budgets; and alternative.me's index."""

    home: str = Field(description="The installation's home; the ledger of requests is kept in it.")
    coingecko_url: str = Field(description="Host of CoinGecko's API.")
    binance_url: str = Field(description="Binance's market-data host.")
    coinmarketcap_url: str = Field(description="Host of CoinMarketCap's API.")
    alternative_me_url: str = Field(description="Host of alternative.me's index.")
    sources: list[str] = Field(description="The price sources in the order in which they are asked.")
    coins: list[str] = Field(description="Symbols of the coins to price.")
    budgets: dict[str, int] = Field(description="Most requests per minute and calendar month (UTC), by source.")
    compare_every_minutes: int = Field(description="How often a second source is asked for comparison.")
    warn_above: float = Field(description="A warning where two sources differ by more than this share.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")

    @classmethod
    def fields_of(cls, settings: PriceSettings) -> dict[str, Any]:
        """Return the fields that come from ``[price_data]``."""
        values = settings.model_dump()
        budgets = {name: value for name, value in values.items() if name.endswith(("_per_minute", "_per_month"))}
        return {
            "sources": list(settings.sources),
            "coins": list(settings.coins),
            "budgets": budgets,
            "compare_every_minutes": settings.compare_every_minutes,
            "warn_above": settings.warn_above,
        }

    def rotation(self) -> Rotation:
        """Return the sources, ready to be asked."""
        urls = {
            "coingecko": self.coingecko_url,
            "binance": self.binance_url,
            "coinmarketcap": self.coinmarketcap_url,
        }
        settings = PriceSettings.model_validate(
            {
                "sources": tuple(self.sources),
                "coins": tuple(self.coins),
                "compare_every_minutes": self.compare_every_minutes,
                "warn_above": self.warn_above,
                **self.budgets,
            }
        )
        return price_rotation(home=Path(self.home), urls=urls, settings=settings, contact=self.contact)

    def symbols(self) -> Sequence[str]:
        """Return the coins to price."""
        return self.coins

    def reference_session(self) -> PoliteSession:
        """Return a session for alternative.me."""
        return polite_session(self.alternative_me_url, self.contact)
