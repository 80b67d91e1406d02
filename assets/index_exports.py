"""The published numbers as files, for programs that read no database."""

from pathlib import Path

import dagster as dg

from bizcharts_pipeline.core.clock import utc_now
from resources.fear_greed import FearGreed
from resources.warehouse import Warehouse


@dg.asset(
    group_name="index",
    deps=["fear_greed_index", "coin_sentiment"],
    owners=["team:bizcharts"],
    kinds={"duckdb", "parquet"},
    description=(
        "The index and the coins by hour and day as CSV, Parquet and JSON, with a data dictionary, a badge and a "
        "report, in `exports/` of the home. Each file is replaced whole; `manifest.json` has their hashes. docs/api.md."
    ),
)
def index_exports(warehouse: Warehouse, fear_greed: FearGreed) -> dg.MaterializeResult:
    from bizcharts_pipeline.exports.write import FOLDER, export

    now = utc_now()
    report = export(warehouse.open_at(now), Path(warehouse.home) / FOLDER, fear_greed.parameters(), now)
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(str(report.folder)),
            **{f"rows: {name}": rows for name, rows in report.rows.items()},
            "megabytes": round(report.bytes / 1e6, 1),
        }
    )
