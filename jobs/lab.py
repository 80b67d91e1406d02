"""The job that tests whether the index says anything about the next days' prices."""

import dagster as dg

from assets.backtest_report import backtest_report
from resources.console_log import CONSOLE

BACKTEST_MAX_RUNTIME_SECONDS = 3600

# Named apart from its asset: Dagster allows a name one graph only.
backtest = dg.define_asset_job(
    "backtest",
    selection=dg.AssetSelection.assets(backtest_report),
    description="Test whether the index says anything about the next days' prices; the report is in the home's `lab`.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(BACKTEST_MAX_RUNTIME_SECONDS)},
)
