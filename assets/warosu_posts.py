"""Import of the archive, day by day."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from assets.archive_checks import ARCHIVE_CHECKS, live_and_archive_agree, no_day_is_missing
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.http.errors import SourceError
from resources.warehouse import Warehouse
from resources.warosu import Warosu

if TYPE_CHECKING:
    from bizcharts_pipeline.archive.days import DayReport

DAYS_A_RUN = 30
NOTES_SHOWN = 20


class WarosuPostsConfig(dg.Config):
    """Handling of days that are already complete."""

    again: bool = Field(False, description="Fetch complete days again.")


def warosu_posts(first_day: date) -> dg.AssetsDefinition:
    """Return the asset, with one partition for each UTC day from ``first_day`` to yesterday."""

    @dg.asset(
        name="warosu_posts",
        group_name="sources",
        owners=["team:bizcharts"],
        kinds={"python", "duckdb"},
        partitions_def=dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC"),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_A_RUN),
        # Each day is reported when it is stored, so the UI also shows the completed days of a killed run.
        output_required=False,
        check_specs=ARCHIVE_CHECKS,
        description=(
            "Imports every opening post of a UTC day from the Warosu archive into `thread_ops`; `warosu_days` lists "
            "the complete days. At most one request in two seconds, over all processes. Complete days are not "
            "requested again, so a backfill may be stopped and repeated at any time. Source: "
            "https://warosu.org/biz/"
        ),
    )
    def asset(
        context: dg.AssetExecutionContext, config: WarosuPostsConfig, warehouse: Warehouse, warosu: Warosu
    ) -> Iterator[dg.AssetCheckResult]:
        from bizcharts_pipeline.archive.days import import_days

        archive, database = warosu.archive(), warehouse.open_at(utc_now())
        days = [date.fromisoformat(key) for key in context.partition_keys]

        def imported(report: "DayReport", number: int) -> None:
            context.log.info(f"{report} ({number} of {len(days)} days of this run)")
            context.log_event(_materialization(report))

        def failed(day: date, error: SourceError) -> None:
            context.log.error(f"{day}: {error}")

        done = import_days(archive, database, days, utc_now, imported, failed, again=config.again)
        yield live_and_archive_agree(database)
        yield no_day_is_missing(database)
        if done.failed:
            raise dg.Failure(
                f"{len(done.failed)} of {done.days} days failed",
                metadata={day.isoformat(): reason for day, reason in done.failed.items()},
            )

    return asset


def _materialization(report: "DayReport") -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        "warosu_posts",
        partition=report.day.isoformat(),
        metadata={
            "posts": report.posts,
            "new_posts": report.new,
            "pages": report.pages,
            "found_by": report.method,
            "fetched_now": report.fetched,
            **({"notes": "\n".join(report.problems[:NOTES_SHOWN])} if report.problems else {}),
        },
    )
