"""Pictures of opening posts."""

from contextlib import closing

import dagster as dg

from assets.reporting import Stopwatch
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.pictures import status_counts
from resources.images import Images
from resources.warehouse import Warehouse

NAMED_PROBLEMS = 50


@dg.asset(
    deps=["catalog_snapshot", "warosu_posts"],
    group_name="sources",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "Thumbnails of opening posts (and, if configured, full pictures of labelled ones): validated, decoded in a "
        "restricted process, stored once by content hash, rated, and purged when the board deletes them. An unusable "
        "picture is a status with a reason in `thumbnails`, never a failed run. See docs/content-safety.md."
    ),
)
def thumbnails(context: dg.AssetExecutionContext, warehouse: Warehouse, images: Images) -> dg.MaterializeResult:
    from bizcharts_pipeline.images.fetch import fetch_pictures  # which no minutely run needs
    from bizcharts_pipeline.training.dataset import remove_withdrawn

    stopwatch = Stopwatch()
    database = warehouse.open_at(utc_now())
    with stopwatch("purge, fetch and store"), closing(images.client()) as client:
        report = fetch_pictures(database, images.home_path(), client, images.limits(), utc_now())
    for warning in report.warnings:
        context.log.warning(f"thumbnails: {warning}")
    with stopwatch("purge data sets"):
        removed = remove_withdrawn(database, images.home_path())
    with stopwatch("look back"), database.read() as connection:
        held = status_counts(connection)
    problems = report.warnings + report.problems
    return dg.MaterializeResult(
        metadata={
            **{f"pictures: {status}": count for status, count in report.counts.items()},
            "threads_archived": report.fates.archived,
            "threads_deleted": report.fates.deleted,
            "pictures_purged": report.fates.purged_pictures,
            "more_waiting": report.more_waiting,
            **({"data_sets_removed": ", ".join(removed)} if removed else {}),
            **({"problems": "\n".join(problems[:NAMED_PROBLEMS])} if problems else {}),
            "all_pictures_by_status": held,
            **stopwatch.metadata(),
        }
    )
