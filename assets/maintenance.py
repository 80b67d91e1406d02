"""Housekeeping of the installation."""

from datetime import timedelta

import dagster as dg

from assets.reporting import table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.previews import Preview
from resources.retention import Retention
from resources.run_locks import fail_dead_runs
from resources.run_records import delete_old_runs
from resources.warehouse import Warehouse

RUNS_KEPT = {
    "live": timedelta(hours=24),
    "fetch_thumbnails": timedelta(days=2),
    "fetch_prices": timedelta(days=2),
    "history": timedelta(days=14),
    "maintenance": timedelta(days=90),
    "fetch_reference_index": timedelta(days=90),
    "export_index": timedelta(days=90),
    "collect_auto_labels": timedelta(days=14),
    "send_alerts": timedelta(days=14),
}


# Named differently from its asset: a job of that name exists, and Dagster requires unique graph names.
@dg.multi_asset(
    name="housekeeping",
    group_name="operations",
    specs=[
        dg.AssetSpec(
            "maintenance",
            owners=["team:bizcharts"],
            kinds={"dagster", "duckdb"},
            description=(
                "Deletes data past its retention period (raw HTML, observations, old threads, pictures, prices; "
                "labels and the published index are kept) and frees the space. docs/operating.md lists the periods. "
                "Also deletes the records of finished minutely runs after a day, and of the other scheduled jobs "
                "later (those of `warosu_posts` are kept, as they show the imported days): a year of minutely runs "
                "would be 525,600 records and about 80 GB."
            ),
        )
    ],
)
def maintenance(context: dg.AssetExecutionContext, warehouse: Warehouse, retention: Retention) -> dg.MaterializeResult:
    from bizcharts_pipeline.maintenance import COLUMNS, maintain

    now = utc_now()
    database = warehouse.open_at(now, to_delete=True)  # checked before anything is deleted
    fail_dead_runs(context.instance, warehouse.run_locks_folder())  # without the service, no sensor does this
    deleted = {job: delete_old_runs(context.instance, job, kept) for job, kept in RUNS_KEPT.items()}
    report = maintain(database, retention.home_path(), retention.policy(), now)
    return dg.MaterializeResult(
        metadata={
            **{f"runs_deleted: {job}": runs for job, (runs, _) in deleted.items()},
            "megabytes_of_runs_freed": round(sum(freed for _, freed in deleted.values()) / 1e6, 1),
            **{f"deleted: {rule.rule}": rule.rows for rule in report.rules},
            "deleted": table(Preview(COLUMNS, [tuple(row) for row in report.table()])),
            "database": str(report),
            **({"picture_store": report.problem} if report.problem else {}),
            "database_megabytes": round(report.compaction.bytes_after / 1e6, 1),
        }
    )
