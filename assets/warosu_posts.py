"""Import of the archive, day by day."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
from pydantic import Field

from assets.archive_checks import ARCHIVE_CHECKS, live_and_archive_agree, no_day_is_missing
from bizcharts_pipeline.archive.days import DayReport, import_day
from bizcharts_pipeline.archive.patience import ArchiveBlocked
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.http.errors import SourceError
from resources.warehouse import Warehouse
from resources.warosu import Warosu

DAYS_A_RUN = 30
NOTES_SHOWN = 20
FAILED_DAYS_IN_A_ROW = 3  # then the archive is the cause, not the day


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
        archive, database = warosu.archive(), warehouse.open_at(utc_now())
        failed: dict[str, SourceError] = {}
        in_a_row = 0
        for number, key in enumerate(context.partition_keys, start=1):
            try:
                report = import_day(archive, database, date.fromisoformat(key), utc_now(), again=config.again)
            except ArchiveBlocked:
                raise
            except SourceError as error:
                failed[key] = error
                in_a_row += 1
                context.log.error(f"{key}: {error}")
                if in_a_row == FAILED_DAYS_IN_A_ROW:
                    archive.rest()
                    raise
                continue
            in_a_row = 0
            context.log.info(f"{report} ({number} of {len(context.partition_keys)} days of this run)")
            context.log_event(_materialization(key, report))
        yield live_and_archive_agree(database)
        yield no_day_is_missing(database)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {number} days failed", metadata={key: str(error) for key, error in failed.items()}
            )

    return asset


def _materialization(key: str, report: DayReport) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        "warosu_posts",
        partition=key,
        metadata={
            "posts": report.posts,
            "new_posts": report.new,
            "pages": report.pages,
            "found_by": report.method,
            "fetched_now": report.fetched,
            **({"notes": "\n".join(report.problems[:NOTES_SHOWN])} if report.problems else {}),
        },
    )
