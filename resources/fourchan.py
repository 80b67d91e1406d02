"""The live board as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.board.client import FourchanClient
from bizcharts_pipeline.board.spool import Spool
from bizcharts_pipeline.live import catalog_spool, fourchan_client


class Fourchan(dg.ConfigurableResource["Fourchan"]):
    """One board's catalogue, with a rate limit, and the spool for its responses."""

    home: str = Field(description="The installation's home; contains the spool and the HTTP validators.")
    board: str = Field(description="The board's short name.")
    api_url: str = Field(description="Host of the catalogue JSON.")
    image_url: str = Field(description="Host of the pictures.")
    seconds_per_request: float = Field(description="Minimum time between two requests to one host.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")

    def client(self) -> FourchanClient:
        """Return a client of the board."""
        return fourchan_client(
            home=Path(self.home),
            board=self.board,
            api_url=self.api_url,
            image_url=self.image_url,
            seconds_per_request=self.seconds_per_request,
            contact=self.contact,
        )

    def spool(self) -> Spool:
        """Return the folder in which polls wait until the warehouse has stored them."""
        return catalog_spool(Path(self.home))
