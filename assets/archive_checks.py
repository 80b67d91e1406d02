"""How far the archive can be trusted: questions put to what came from it, once a day and at a press of a button."""

import dagster as dg

from assets.reporting import check, picture
from bizcharts_pipeline.calendar_plot import svg_calendar
from bizcharts_pipeline.warehouse.coverage import coverage, summary
from bizcharts_pipeline.warehouse.overlap import overlap_problems
from resources.warehouse import Warehouse

DAYS_DRAWN = 730
WARNING = dg.AssetCheckSeverity.WARN


@dg.asset_check(
    asset="warosu_posts",
    description="What live and archive say of the same day: who missed how many threads, other times, other texts.",
)
def live_and_archive_agree(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(overlap_problems(connection), severity=WARNING)


@dg.asset_check(asset="warosu_posts", description="No gap between the first and the last complete day.")
def no_day_is_missing(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        days = coverage(connection)
    sums = summary(days)
    inner = [gap for gap in sums.gaps if sums.earliest_complete and gap.first > sums.earliest_complete]
    missing = [gap for gap in inner if sums.newest_complete and gap.last < sums.newest_complete]
    return check(
        missing,
        severity=WARNING,
        metadata={
            "complete_days": sums.complete_days,
            "days": sums.days,
            "calendar": picture(svg_calendar(days[-DAYS_DRAWN:]), "Calendar of the days that are there"),
        },
    )
