"""One poll of the live board."""

from datetime import timedelta

import dagster as dg

from assets.reporting import Stopwatch, check, table
from assets.retries import with_retries
from bizcharts_pipeline.board.ingest import poll_catalog
from bizcharts_pipeline.core.clock import ClockDisagrees, utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.http.errors import SourceUnreachable
from bizcharts_pipeline.warehouse.previews import busiest_threads
from resources.fourchan import Fourchan
from resources.warehouse import Warehouse

EXPECTED_THREADS = range(100, 204)  # ten pages of 15 and a sticky; some boards have pages of 20
UNREACHABLE = "bizcharts/board_unreachable"  # tag that delays the next runs: no response, or a wrong clock
CATALOG_GROWS_STALE = timedelta(minutes=30)
RETRY_SECONDS = (5,)  # before the second poll of a run


@dg.asset(
    group_name="sources",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "One poll of the board's catalogue: every opening post into `thread_ops`, its counts into "
        "`thread_observations` when they changed, and one row in `catalog_snapshots`, even if the board was unchanged "
        "(304). Source: 4chan /biz/, https://boards.4chan.org/biz/"
    ),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=15)),
    check_specs=[
        dg.AssetCheckSpec("thread_count", asset="catalog_snapshot", description="About 150 threads, all readable."),
        dg.AssetCheckSpec("catalog_is_fresh", asset="catalog_snapshot", description="The catalogue changed lately."),
    ],
)
def catalog_snapshot(
    context: dg.AssetExecutionContext, warehouse: Warehouse, fourchan: Fourchan
) -> dg.MaterializeResult:
    return with_retries(lambda: _poll(context, warehouse, fourchan), RETRY_SECONDS, context.log.info)


def _poll(context: dg.AssetExecutionContext, warehouse: Warehouse, fourchan: Fourchan) -> dg.MaterializeResult:
    stopwatch = Stopwatch()
    database = warehouse.open()
    with stopwatch("poll and store"):
        try:
            report = poll_catalog(fourchan.client(), fourchan.spool(), database, utc_now())
        except SourceUnreachable:
            context.instance.add_run_tags(context.run.run_id, {UNREACHABLE: "true"})
            raise
        except ClockDisagrees as error:
            context.instance.add_run_tags(context.run.run_id, {UNREACHABLE: "true"})
            raise dg.Failure(str(error), allow_retries=False) from None
    with stopwatch("look back"), database.read() as connection:
        preview = busiest_threads(connection)
    result, modified = report.result, report.last_modified
    odd_counts = [] if result.total_threads in EXPECTED_THREADS else [counted(result.total_threads, "thread")]
    odd = [*odd_counts, *report.set_aside, *report.problems]
    stale = [f"unchanged since {modified}"] if modified and report.snapshot_at - modified > CATALOG_GROWS_STALE else []
    warning = dg.AssetCheckSeverity.WARN
    return dg.MaterializeResult(
        metadata={
            "threads": result.total_threads,
            "new_threads": result.new_threads,
            "changed_threads": result.changed_threads,
            "not_modified": result.not_modified,
            "recovered_polls": report.recovered_polls,
            "unreadable_entries": len(report.problems),
            "set_aside_polls": "\n".join(report.set_aside) or "none",
            "busiest_threads": table(preview),
            **stopwatch.metadata(),
        },
        check_results=[
            check(odd, asset="catalog_snapshot", name="thread_count", severity=warning),
            check(stale, asset="catalog_snapshot", name="catalog_is_fresh", severity=warning),
        ],
    )
