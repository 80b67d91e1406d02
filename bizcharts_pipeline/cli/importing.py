"""``bizcharts search``, ``import`` and ``import-sqlite``: posts of the archive and of the first implementation."""

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.labels import rating_scale
from bizcharts_pipeline.cli.output import DAY, as_json, check_order, existing_file, show
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.progress import on_terminal
from bizcharts_pipeline.settings import load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.labels.scales import Scale
    from bizcharts_pipeline.warehouse.database import Database


@click.command()
@click.argument("query")
@click.option("--max", "most", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Most posts.")
@as_json
def search(query: str, most: int, json_output: bool) -> None:
    """Import the results of an archive search.

    It imports opening posts with QUERY in text or subject, newest first. Several words: all of them; a|b: either; -w:
    without w (put -- before such a QUERY); "a b": the phrase.
    """
    from bizcharts_pipeline.archive.patience import SHORT_PATIENCE_SECONDS, Archive
    from bizcharts_pipeline.archive.search_import import import_search

    if not query.strip():
        raise click.UsageError("QUERY is empty; give a word")
    archive = Archive.from_settings(load_settings(), patience=SHORT_PATIENCE_SECONDS)
    show(import_search(archive, checked_database(), query, most, utc_now(), on_terminal), json_output)


@click.command("import")
@click.option("--from", "first", type=DAY, metavar="YYYY-MM-DD", help="First day (UTC).")
@click.option("--to", "last", type=DAY, metavar="YYYY-MM-DD", help="Last day; default: yesterday.")
@click.option(
    "--last", "recent", type=click.IntRange(1, 36_600), metavar="N", help="The last N whole UTC days, up to yesterday."
)
@click.option(
    "--pages", type=click.IntRange(1, 10_000), metavar="N", help="The newest N index pages, at once, without Dagster."
)
@click.option(
    "--continue", "onwards", is_flag=True, help="From after the newest complete day to yesterday; earlier gaps stay."
)
@click.option("--backfill", is_flag=True, help="From the archive's first day to before the earliest complete day.")
@click.option("--here", is_flag=True, help="In this process, without Dagster: on a machine that runs no service.")
@as_json
def import_archive(
    first: datetime | None,
    last: datetime | None,
    recent: int | None,
    pages: int | None,
    onwards: bool,
    backfill: bool,
    here: bool,
    json_output: bool,
) -> None:
    """Import posts from the Warosu archive.

    Days are imported by a backfill in Dagster, or with --here at once; index pages always at once. Complete days are
    not imported again.
    """
    ways = [first is not None, recent is not None, pages is not None, onwards, backfill]
    if sum(ways) != 1 or (last and not first):
        raise click.UsageError("give one of --from (with or without --to), --last, --pages, --continue, --backfill")
    check_order(first, last)
    from bizcharts_pipeline.archive.patience import Archive

    if pages is not None:
        from bizcharts_pipeline.archive.patience import SHORT_PATIENCE_SECONDS
        from bizcharts_pipeline.archive.search_import import import_newest

        archive = Archive.from_settings(load_settings(), patience=SHORT_PATIENCE_SECONDS)
        show(import_newest(archive, checked_database(), pages, utc_now(), on_terminal), json_output)
        return
    from bizcharts_pipeline.archive.days import import_days
    from bizcharts_pipeline.cli.backfill import Way, check_days, days_to_fetch, launch_backfill
    from bizcharts_pipeline.core.listening import http_address
    from bizcharts_pipeline.service.jobs import environment, instance_folder
    from bizcharts_pipeline.service.serve import refuse_other_home
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    if not here:
        refuse_other_home(instance_folder(environment(), settings.postgres), settings.home_path)
    way: Way = "onwards" if onwards else "before" if backfill else "between"
    bounds = (first.date() if first else None, last.date() if last else None)
    if recent:
        bounds = (max(settings.archive_start, utc_now().date() - timedelta(days=recent)), None)
    if bounds[0]:  # before a database is created
        check_days(settings.archive_start, utc_now(), bounds[0], bounds[1])
    database = (Database.from_settings if way == "between" else Database.existing)(settings)
    days = days_to_fetch(database, settings.archive_start, utc_now(), way, *bounds)
    if not days:
        show({"days": 0}, json_output, "Nothing to do: all these days are complete.")
        return
    if here:
        report = import_days(
            Archive.from_settings(settings),
            checked_database(),
            days,
            utc_now,
            lambda done, number: _tell(f"{done} ({number} of {len(days)} days)"),
            lambda day, error: _tell(f"{day}: {error}"),
        )
        show({"days": report.days, "posts": report.posts, "failed": len(report.failed)}, json_output, str(report))
        if report.failed:
            sys.exit(1)
        return
    ui = http_address(settings.serve.host, settings.serve.port)
    show(launch_backfill(days, settings.home_path, ui), json_output)


def _tell(line: str) -> None:
    click.echo(line, err=True)


@click.command("import-sqlite")
@existing_file
@rating_scale
@as_json
def import_sqlite(file: Path, scale: "Scale | None", json_output: bool) -> None:
    """Import a database of the first implementation.

    Posts and polls go into the database, labels into the label ledger. The import may be repeated. `labels undo-import`
    undoes the labels.
    """
    from bizcharts_pipeline.legacy.legacy_import import import_posts_db
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    database = Database.configured(settings)
    database.check()
    report = import_posts_db(file, database, settings.home_path, settings.board, utc_now(), on_terminal, scale)
    show(report, json_output)


def checked_database() -> "Database":
    """Return the installation's database for a command, after a check of the clock, whose time the rows will get."""
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.present import Witnesses, check_clock

    settings = load_settings()
    database = Database.from_settings(settings)
    check_clock(database, settings.home_path, Witnesses.of(settings), utc_now())
    return database
