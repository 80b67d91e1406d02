"""Lower bound of a tick: a Dagster run of one asset that does nothing."""

import dagster as dg


@dg.asset
def nothing() -> None: ...


defs = dg.Definitions(
    assets=[nothing],
    jobs=[dg.define_asset_job("empty", selection=[nothing])],
    executor=dg.in_process_executor,
)
