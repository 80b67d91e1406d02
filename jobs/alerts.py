"""The job that sends alerts."""

import dagster as dg

from assets.alerts import alerts
from resources.console_log import CONSOLE

ALERTS_MAX_RUNTIME_SECONDS = 900

# Named apart from its asset: Dagster allows a name one graph only.
send_alerts = dg.define_asset_job(
    "send_alerts",
    selection=dg.AssetSelection.assets(alerts),
    description="Search for events, and send the alerts that are due.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(ALERTS_MAX_RUNTIME_SECONDS)},
)
