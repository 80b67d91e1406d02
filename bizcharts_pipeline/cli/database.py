"""``bizcharts stats``, ``coverage``, ``maintain``, ``block``: what the database holds, and what is deleted from it."""

from datetime import datetime
from itertools import groupby

import click

from bizcharts_pipeline.cli.output import (
    DAY,
    as_json,
    check_order,
    megabytes,
    moment,
    print_table,
    show,
    to_json,
)
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.settings import load_settings

DAYS_SHOWN = 62
GAPS_SHOWN = 10
SHORTEST_HASH = 16  # digits; thread numbers have fewer


@click.command()
@as_json
def stats(json_output: bool) -> None:
    """Show the size of the database, table by table."""
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.statistics import source_statistics, table_statistics

    database = Database.existing(load_settings())
    with database.read() as connection:
        tables, sources = table_statistics(connection), source_statistics(connection)
    if json_output:
        click.echo(
            to_json({"database": database.name, "bytes": database.bytes_used(), "tables": tables, "sources": sources})
        )
        return
    print_table(
        ["table", "rows", "about MB", "oldest (UTC)", "newest (UTC)"],
        [
            [table.table, f"{table.rows:,}", f"{table.bytes / 1e6:,.1f}", moment(table.oldest), moment(table.newest)]
            for table in sorted(tables, key=lambda table: -table.rows)
        ],
    )
    for source in sources:
        click.echo(
            f"{source.source}: {counted(source.threads, 'post')}, {moment(source.oldest)} to {moment(source.newest)}"
        )
    click.echo(f"{database.name}: {megabytes(database.bytes_used())}")


@click.command()
@click.option(
    "--from",
    "first",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="First day (UTC); default: the earliest.",
)
@click.option("--to", "last", type=DAY, metavar="YYYY-MM-DD", help="Last day; default: the newest.")
@as_json
def coverage(first: datetime | None, last: datetime | None, json_output: bool) -> None:
    """Show the days that the database covers, and the gaps.

    For live polls and the archive, by day for up to two months, else by month. Without --from and --to it also writes
    a calendar as an image.
    """
    from bizcharts_pipeline.archive.calendar_plot import svg_calendar
    from bizcharts_pipeline.core.files import write_atomically
    from bizcharts_pipeline.warehouse import coverage as covering
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    bounds = (first.date() if first else None, last.date() if last else None)
    check_order(first, last)
    with Database.existing(settings).read() as connection:
        days = covering.coverage(connection, *bounds)
    sums = covering.summary(days)
    if json_output:
        click.echo(to_json({"summary": sums, "days": days}))
        return
    if not days and any(bounds):
        click.echo("The database has none of these days.")
        return
    if not days:
        click.echo("No days yet. `make serve` polls the board; `bizcharts import --from DAY` reads the archive.")
        return
    by_day = len(days) <= DAYS_SHOWN
    parts = [list(part) for _, part in groupby(days, lambda day: day.day if by_day else day.day.replace(day=1))]
    print_table(
        ["day" if by_day else "month", "complete days", "hours polled", "live posts", "archive posts"],
        [
            [
                part[0].day.isoformat() if by_day else f"{part[0].day:%Y-%m}",
                f"{sum(day.complete for day in part)} of {len(part)}",
                f"{sum(day.hours_polled for day in part):,}",
                f"{sum(day.live_posts for day in part):,}",
                f"{sum(day.archive_posts for day in part):,}",
            ]
            for part in parts
        ],
    )
    gaps = ", ".join(map(str, sums.gaps[:GAPS_SHOWN])) + (", ..." if len(sums.gaps) > GAPS_SHOWN else "")
    click.echo(f"{sums.complete_days:,} of {counted(sums.days, 'day')} complete" + (f"; not: {gaps}" if gaps else ""))
    if any(bounds):
        return
    picture = settings.home_path / "coverage.svg"
    try:
        write_atomically(picture, svg_calendar(days).encode())
    except OSError as error:
        click.echo(f"{picture} cannot be written: {error.strerror}", err=True)
    else:
        click.echo(f"picture  {picture}")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@as_json
def maintain(dry_run: bool, json_output: bool) -> None:
    """Delete data older than its retention period.

    The periods are the settings under [retention]. Labels and the published index are never deleted.
    """
    from bizcharts_pipeline.maintenance import COLUMNS
    from bizcharts_pipeline.maintenance import maintain as run_maintenance
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.present import Witnesses, check_clock_to_delete

    settings, now = load_settings(), utc_now()
    database = Database.existing(settings)
    if not dry_run:
        check_clock_to_delete(database, settings.home_path, Witnesses.of(settings), now)
    report = run_maintenance(database, settings.home_path, settings.retention, now, dry_run=dry_run)
    if json_output:
        click.echo(to_json(report))
        return
    print_table(COLUMNS, report.table())
    click.echo(("Nothing was done. " if dry_run else "") + str(report))
    if report.problem:
        click.echo(f"{report.problem}.", err=True)


@click.command()
@click.argument("what")
@click.option("--reason", default="", help="Reason; stored with the hashes.")
@as_json
def block(what: str, reason: str, json_output: bool) -> None:
    """Delete a picture for good.

    The file is deleted. Its hashes are kept, so that the picture is never stored again. WHAT is a thread number, or a
    picture's SHA-256, MD5 (base64) or perceptual hash.
    """
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.withdrawals import block as block_picture

    settings = load_settings()
    named = int(what) if what.isdecimal() and len(what) < SHORTEST_HASH else what
    report = block_picture(Database.existing(settings), settings.home_path, named, reason, utc_now())
    text = f"{counted(report.pictures, 'picture')} deleted; {counted(report.new_hashes, 'hash', 'hashes')} blocked."
    show(report, json_output, text)
