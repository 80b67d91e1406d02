"""The archive as a Dagster resource."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from bizcharts_pipeline.archive.patience import Archive


class Warosu(dg.ConfigurableResource["Warosu"]):
    """One board's Warosu archive with a rate limit, and the folder in which its pages wait until a day is stored."""

    home: str = Field(description="The installation's home; contains pages until their day is stored.")
    board: str = Field(description="The board's short name.")
    url: str = Field(description="The archive.")
    image_url: str = Field(description="Host of the archive's pictures.")
    seconds_per_request: float = Field(description="Minimum time between two requests, over all processes.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")

    def archive(self) -> "Archive":
        """Return the archive."""
        from bizcharts_pipeline.archive.patience import Archive

        return Archive(
            home=Path(self.home),
            board=self.board,
            url=self.url,
            image_url=self.image_url,
            seconds_per_request=self.seconds_per_request,
            contact=self.contact,
        )
