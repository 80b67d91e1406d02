"""The installation's own housekeeping."""

from datetime import timedelta

import dagster as dg

from resources.run_records import delete_old_runs

LIVE_RUNS_KEPT = timedelta(hours=24)
HISTORY_RUNS_KEPT = timedelta(days=14)


# Named apart from its asset: a job of that name exists too, and Dagster allows a name one graph only.
@dg.multi_asset(
    name="housekeeping",
    group_name="operations",
    specs=[
        dg.AssetSpec(
            "maintenance",
            owners=["team:bizcharts"],
            kinds={"dagster"},
            description=(
                "Deletes the records of finished minutely runs after a day and of hourly runs after two weeks. "
                "A year of minutely runs would be 525,600 records and about 80 GB."
            ),
        )
    ],
)
def maintenance(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    live_runs, live_bytes = delete_old_runs(context.instance, "live", LIVE_RUNS_KEPT)
    history_runs, history_bytes = delete_old_runs(context.instance, "history", HISTORY_RUNS_KEPT)
    return dg.MaterializeResult(
        metadata={
            "live_runs_deleted": live_runs,
            "history_runs_deleted": history_runs,
            "megabytes_freed": round((live_bytes + history_bytes) / 1e6, 1),
        }
    )
