"""Job that deletes old data."""

import dagster as dg

from assets.maintenance import maintenance as maintenance_asset
from resources.console_log import CONSOLE

MAINTENANCE_MAX_RUNTIME_SECONDS = 7200

maintenance = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.assets(maintenance_asset),
    description="Delete data past its retention period, and free its space.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(MAINTENANCE_MAX_RUNTIME_SECONDS)},
)
