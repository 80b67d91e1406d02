"""Job of the daily housekeeping: deletes old data, and looks whether the model has gone stale."""

import dagster as dg

from assets.drift_report import drift_report
from assets.maintenance import maintenance as maintenance_asset
from resources.console_log import CONSOLE

MAINTENANCE_MAX_RUNTIME_SECONDS = 7200

maintenance = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.assets(maintenance_asset, drift_report),
    description="Delete data past its retention period, and free its space; report whether the model has gone stale.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(MAINTENANCE_MAX_RUNTIME_SECONDS)},
)
