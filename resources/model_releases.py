"""Releases of models, as a Dagster resource."""

import dagster as dg
from pydantic import Field


class ModelReleases(dg.ConfigurableResource["ModelReleases"]):
    """Destination of the champion's releases: the values of ``[ml.release]``. The token stays in ``GITHUB_TOKEN``."""

    repository: str = Field("", description="`owner/name` on GitHub; empty: nothing is released.")
    api_url: str = Field("https://api.github.com", description="GitHub's API, or that of an Enterprise server.")
    home: str = Field(description="The installation's home; contains the models.")
