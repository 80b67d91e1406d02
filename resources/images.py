"""Pictures as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.images.client import ImageClient, image_client
from bizcharts_pipeline.settings import ImageSettings


class Images(dg.ConfigurableResource["Images"]):
    """The two image hosts with rate limits, the folder of the pictures, and the settings of ``[images]``."""

    home: str = Field(description="The installation's home; its images folder contains the pictures.")
    board: str = Field(description="The board's short name.")
    api_url: str = Field(description="Host of the list of archived threads.")
    image_url: str = Field(description="Host of the live board's pictures.")
    archive_image_url: str = Field(description="Host of the archive's pictures.")
    seconds_per_request: float = Field(description="Minimum time between two requests to the live board's hosts.")
    archive_seconds_per_request: float = Field(description="Minimum time between two requests to the archive's host.")
    contact: str = Field("", description="E-mail or URL put into the User-Agent.")
    values: dict[str, Any] = Field(
        description="Limits of fetching, storing, blurring and sending, by name; see docs/content-safety.md."
    )

    def client(self) -> ImageClient:
        """Return a client of the two hosts; close it after use."""
        return image_client(
            board=self.board,
            api_url=self.api_url,
            image_url=self.image_url,
            archive_image_url=self.archive_image_url,
            seconds_per_request=self.seconds_per_request,
            archive_seconds_per_request=self.archive_seconds_per_request,
            contact=self.contact,
        )

    def home_path(self) -> Path:
        """Return the installation's home folder."""
        return Path(self.home)

    def limits(self) -> ImageSettings:
        """Return the settings of ``[images]``, validated."""
        return ImageSettings.model_validate(self.values)
