"""The price hosts as a Dagster resource. Keys are read from the environment for each request, and stored nowhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import PriceSettings

if TYPE_CHECKING:
    from bizcharts_pipeline.http.session import PoliteSession
    from bizcharts_pipeline.prices.rotation import Rotation


class Prices(dg.ConfigurableResource["Prices"]):
    """The price sources in order, with their budgets; and alternative.me's index."""

    home: str = Field(description="The installation's home; contains the ledger of requests.")
    coingecko_url: str = Field(description="Host of CoinGecko's API.")
    binance_url: str = Field(description="Binance's market-data host.")
    coinmarketcap_url: str = Field(description="Host of CoinMarketCap's API.")
    alternative_me_url: str = Field(description="Host of alternative.me's index.")
    values: dict[str, Any] = Field(description="Sources, coins, budgets and thresholds: the values of `[price_data]`.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")

    def rotation(self) -> "Rotation":
        """Return the rotation of the sources."""
        from bizcharts_pipeline.prices.rotation import price_rotation

        urls = {
            "coingecko": self.coingecko_url,
            "binance": self.binance_url,
            "coinmarketcap": self.coinmarketcap_url,
        }
        return price_rotation(home=Path(self.home), urls=urls, settings=self.parameters(), contact=self.contact)

    def parameters(self) -> PriceSettings:
        """Return the values of ``[price_data]``, validated."""
        return PriceSettings.model_validate(self.values)

    def reference_session(self) -> "PoliteSession":
        """Return a session for alternative.me."""
        from bizcharts_pipeline.prices.rotation import polite_session

        return polite_session(self.alternative_me_url, self.contact)
