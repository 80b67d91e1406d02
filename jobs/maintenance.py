"""The job that keeps the installation small."""

import dagster as dg

from assets.archive_checks import live_and_archive_agree, no_day_is_missing
from assets.maintenance import maintenance as maintenance_asset

maintenance = dg.define_asset_job(
    "maintenance",
    selection=(
        dg.AssetSelection.assets(maintenance_asset)
        | dg.AssetSelection.checks(live_and_archive_agree, no_day_is_missing)
    ),
    description="Delete what has outlived its period, return its space, and look at what the archive gave.",
    tags={"dagster/max_runtime": "7200"},
)
