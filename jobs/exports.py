"""The job that writes the published numbers as files."""

import dagster as dg

from assets.index_exports import index_exports
from resources.console_log import CONSOLE

EXPORTS_MAX_RUNTIME_SECONDS = 1800

# Named apart from its asset: Dagster allows a name one graph only.
export_index = dg.define_asset_job(
    "export_index",
    selection=dg.AssetSelection.assets(index_exports),
    description="Write the index and the coins as files into the home's exports folder.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(EXPORTS_MAX_RUNTIME_SECONDS)},
)
