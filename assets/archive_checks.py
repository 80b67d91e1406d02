"""How far the archive can be trusted: questions put to what came from it at the end of every run."""

import dagster as dg

from assets.reporting import check, picture
from bizcharts_pipeline.archive.calendar_plot import svg_calendar
from bizcharts_pipeline.warehouse.coverage import coverage, summary
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.overlap import overlap_problems

DAYS_DRAWN = 730

ARCHIVE_CHECKS = [
    dg.AssetCheckSpec(
        "live_and_archive_agree",
        asset="warosu_posts",
        description="What live and archive say of the same day: who missed how many threads, other times, other texts.",
    ),
    dg.AssetCheckSpec(
        "no_day_is_missing",
        asset="warosu_posts",
        description="No gap between the first and the last complete day; with a calendar of the last two years.",
    ),
]


def live_and_archive_agree(database: Database) -> dg.AssetCheckResult:
    """Compare what was recorded of the newest days."""
    with database.read() as connection:
        problems = overlap_problems(connection)
    return check(problems, asset="warosu_posts", name="live_and_archive_agree", severity=dg.AssetCheckSeverity.WARN)


def no_day_is_missing(database: Database) -> dg.AssetCheckResult:
    """Look for gaps, and draw the calendar."""
    with database.read() as connection:
        days = coverage(connection)
    sums = summary(days)
    inner = [gap for gap in sums.gaps if sums.earliest_complete and gap.first > sums.earliest_complete]
    missing = [gap for gap in inner if sums.newest_complete and gap.last < sums.newest_complete]
    return check(
        missing,
        asset="warosu_posts",
        name="no_day_is_missing",
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "complete_days": sums.complete_days,
            "days": sums.days,
            "calendar": picture(svg_calendar(days[-DAYS_DRAWN:]), "Calendar of the days that are there"),
        },
    )
