"""Checks of the archive's data, made at the end of every run of `warosu_posts`."""

import dagster as dg

from assets.reporting import check, picture
from bizcharts_pipeline.warehouse.database import Database

DAYS_DRAWN = 730

ARCHIVE_CHECKS = [
    dg.AssetCheckSpec(
        "live_and_archive_agree",
        asset="warosu_posts",
        description="Compares live and archive on the same days: missed threads, different times, different texts.",
    ),
    dg.AssetCheckSpec(
        "no_day_is_missing",
        asset="warosu_posts",
        description="No day is missing between the first and the last complete one; with a calendar of two years.",
    ),
]


def live_and_archive_agree(database: Database) -> dg.AssetCheckResult:
    """Check the recorded comparisons of the newest days."""
    from bizcharts_pipeline.warehouse.overlap import overlap_problems

    with database.read() as connection:
        problems = overlap_problems(connection)
    return check(problems, asset="warosu_posts", name="live_and_archive_agree", severity=dg.AssetCheckSeverity.WARN)


def no_day_is_missing(database: Database) -> dg.AssetCheckResult:
    """Find missing days, and draw the calendar."""
    from bizcharts_pipeline.archive.calendar_plot import svg_calendar
    from bizcharts_pipeline.warehouse.coverage import coverage, summary

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
            "calendar": picture(svg_calendar(days[-DAYS_DRAWN:]), "Calendar of the imported days"),
        },
    )
