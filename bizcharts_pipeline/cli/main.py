"""Command line ``bizcharts``. Tables by default, JSON with ``--json``, errors as one line."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bizcharts_pipeline.cli.alerts import alerts
from bizcharts_pipeline.cli.app import open_app
from bizcharts_pipeline.cli.backup import backup, repair, restore, snapshot
from bizcharts_pipeline.cli.endpoint import endpoint
from bizcharts_pipeline.cli.index import coins, index
from bizcharts_pipeline.cli.installation import init, repair_clock
from bizcharts_pipeline.cli.lab import backtest
from bizcharts_pipeline.cli.labels import label, labels, rating_scale
from bizcharts_pipeline.cli.models import models
from bizcharts_pipeline.cli.moved import moved
from bizcharts_pipeline.cli.output import (
    DAY,
    as_json,
    check_order,
    existing_file,
    megabytes,
    moment,
    number,
    print_table,
    printable,
    show,
    to_json,
)
from bizcharts_pipeline.cli.pods import pods
from bizcharts_pipeline.cli.publishing import api, export
from bizcharts_pipeline.cli.service import health, run, serve
from bizcharts_pipeline.cli.start import STATUS
from bizcharts_pipeline.core.clock import ClockDisagrees, utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.core.private import make_private
from bizcharts_pipeline.core.progress import on_terminal
from bizcharts_pipeline.settings import DEBUG, REPOSITORY_ROOT, is_switched_on, load_environment, load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.labels.scales import Scale
    from bizcharts_pipeline.warehouse.database import Database

POLL_SECONDS = 60
LONGEST_PAUSE_MINUTES = 15  # while the clock is wrong
DAYS_SHOWN = 62
GAPS_SHOWN = 10
SHORTEST_HASH = 16  # digits; thread numbers have fewer


class Commands(click.Group):
    """Commands that take no empty argument: it stands for a shell's variable that is not set, and a path, a host or a
    day would become the default, or everything."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for before, argument in zip(["", *args], args, strict=False):
            if not argument or (argument.startswith("--") and argument.endswith("=")):
                name = argument.rstrip("=") or (before if before.startswith("--") else "an argument")
                raise click.UsageError(f"{name} is empty; if it comes from a variable of the shell, set it", ctx)
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bizcharts")
def bizcharts() -> None:
    """The mood of 4chan's /biz/ board: a Fear/Greed index and coin sentiment, each with an error band.

    `make serve` runs the pipeline as a service; these commands are for everything else. Settings come from the
    environment, .env and settings.toml. A research tool, not financial advice. Source: 4chan /biz/, https://boards.4chan.org/biz/
    """
    load_environment()
    os.environ.setdefault("DAGSTER_HOME", str(REPOSITORY_ROOT / "dagster_home"))


@bizcharts.command()
@click.option("--days", type=click.IntRange(65, 365), default=90, show_default=True, help="Simulated days of history.")
@click.option("--full", is_flag=True, help="Also train models, one of them on a simulated pod; takes minutes longer.")
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the last demo, whose board continues.")
@click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True, help="Port of the UI.")
@as_json
def demo(days: int, full: bool, ui: bool, port: int, json_output: bool) -> None:
    """Run the entire pipeline on a simulated board.

    Its mood is known. The demo uses no network but loopback, and a home of its own. Each run replaces the last demo;
    --ui shows the last one.
    """
    if ui:
        from bizcharts_pipeline.demo.ui import open_ui

        settings = load_settings()
        open_ui(settings.home_path / "demo", Path(os.environ["DAGSTER_HOME"]) / "demo", port, click.echo)
        return
    from bizcharts_pipeline.demo.run import run_demo

    report = run_demo(load_settings(), history_days=days, full=full, track=on_terminal)
    if json_output:
        click.echo(to_json(report))
        return
    click.echo("\nFear/Greed index of the simulated board by UTC day, next to the hidden mood:\n")
    print_table(
        ["day (UTC)", "index", "90 %", "stance", "posts", "mood", "class"],
        [
            [
                f"{day.day:%Y-%m-%d}" + ("" if day.final else " *"),
                number(day.value),
                "-" if day.value is None else f"{number(day.lo)} to {number(day.hi)}",
                "-" if day.stance is None else f"{day.stance:+.2f}",
                f"{day.posts}",
                f"{day.mood:+.2f}",
                day.short,
            ]
            for day in report.days
        ],
    )
    click.echo("\n" + "\n".join(report.notes))
    found = report.recovery
    seen, kept = report.archive, report.pictures.get("stored", 0)
    click.echo(
        f"""
Recovery of the hidden mood over {found.hours:,} hours: correlation of the stance
{found.stance_correlation:.2f}, rank correlation of the index {found.index_correlation:.2f}; the 90 % interval contained
the true stance in {found.coverage:.0%} of the hours. This took {report.seconds:.0f} s.
{seen.day}: {seen.live_threads} threads live, {seen.archive_threads} in the archive, {seen.both_threads} in both.
Pictures kept: {kept} of {sum(report.pictures.values())}. Prices stored: {report.prices}.
{report.labels}"""
    )
    if report.training:
        click.echo("\nModels on the gold posts of the two simulated people:\n")
        print_table(
            ["model", "", "posts", "right (95 %)", "macro-F1"],
            [
                [
                    model.model_version,
                    model.status,
                    f"{model.gold_posts}",
                    f"{model.accuracy:.2f} ({model.accuracy_lo:.2f} to {model.accuracy_hi:.2f})",
                    f"{model.macro_f1:.2f}",
                ]
                for model in report.training.models
            ],
        )
        click.echo("\nThe bill of the simulated pods; the first order was reported as failed, but executed:\n")
        click.echo(report.training.bill.table())
    elsewhere = [
        f"{name}={folder.parent} "
        for name, folder, usual in (
            ("BIZCHARTS_HOME", report.home, "data"),
            ("DAGSTER_HOME", report.dagster_home, "dagster_home"),
        )
        if folder.parent != REPOSITORY_ROOT / usual
    ]
    demo_ui = f"{''.join(elsewhere)}.venv/bin/bizcharts demo --ui"
    bizcharts_here = f"BIZCHARTS_HOME={report.home} .venv/bin/bizcharts"
    click.echo(
        f"""
data     {report.home}
picture  {report.plot}
next     the app on this data, in the browser:
           BIZCHARTS_HOME={report.home} make app
         the Dagster UI on this data, with runs, partitions and the plot:
           {demo_ui}
         the numbers again, or for a program (--json, --csv):
           {bizcharts_here} index
         label some of its posts:
           {bizcharts_here} label
         train models on these labels, text_ensemble among them (README):
           .venv/bin/bizcharts demo --full
         go live: make serve"""
    )


@bizcharts.command()
@click.option("--once", is_flag=True, help="One poll, then stop.")
@as_json
def poll(once: bool, json_output: bool) -> None:
    """Poll, score and index every minute, without Dagster."""
    from bizcharts_pipeline.live import LivePipeline, run_tick

    pipeline = LivePipeline.from_settings(load_settings())
    full_hour: int | None = None  # of the last tick that recomputed everything, as the job `history` does
    refusals = 0  # consecutive ones because of the clock
    while True:
        started, now = time.monotonic(), utc_now()
        try:
            report = run_tick(pipeline, now, everything=not once and now.hour != full_hour)
            full_hour = now.hour
        except Exception as error:
            if once:
                raise
            refusals = refusals + 1 if isinstance(error, ClockDisagrees) else 0
            click.echo(f"{now:%Y-%m-%d %H:%M:%S}  {reason_of(error)}", err=True)
        else:
            refusals = 0
            show(report, json_output)
        if once:
            return
        minutes = min(2 ** max(0, refusals - 1), LONGEST_PAUSE_MINUTES)
        time.sleep(max(0.0, POLL_SECONDS * minutes - (time.monotonic() - started)))


@bizcharts.command()
@as_json
def stats(json_output: bool) -> None:
    """Show the size of the database, table by table."""
    from bizcharts_pipeline.warehouse.statistics import source_statistics, table_statistics

    database = existing_database()
    with database.read() as connection:
        tables, sources = table_statistics(connection), source_statistics(connection)
    if json_output:
        size = database.path.stat().st_size
        click.echo(to_json({"database": database.path, "bytes": size, "tables": tables, "sources": sources}))
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
    click.echo(f"{database.path}: {megabytes(database.path)}")


@bizcharts.command()
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

    bounds = (first.date() if first else None, last.date() if last else None)
    check_order(first, last)
    with existing_database().read() as connection:
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
    picture = load_settings().home_path / "coverage.svg"
    try:
        write_atomically(picture, svg_calendar(days).encode())
    except OSError as error:
        click.echo(f"{picture} cannot be written: {error.strerror}", err=True)
    else:
        click.echo(f"picture  {picture}")


@bizcharts.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@as_json
def maintain(dry_run: bool, json_output: bool) -> None:
    """Delete data older than its retention period.

    The periods are the settings under [retention]. Labels and the published index are never deleted.
    """
    from bizcharts_pipeline.maintenance import COLUMNS
    from bizcharts_pipeline.maintenance import maintain as run_maintenance
    from bizcharts_pipeline.warehouse.present import Witnesses, check_clock_to_delete

    settings, database, now = load_settings(), existing_database(), utc_now()
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


@bizcharts.command()
@click.argument("what")
@click.option("--reason", default="", help="Reason; stored with the hashes.")
@as_json
def block(what: str, reason: str, json_output: bool) -> None:
    """Delete a picture for good.

    The file is deleted. Its hashes are kept, so that the picture is never stored again. WHAT is a thread number, or a
    picture's SHA-256, MD5 (base64) or perceptual hash.
    """
    from bizcharts_pipeline.withdrawals import block as block_picture

    settings = load_settings()
    named = int(what) if what.isdecimal() and len(what) < SHORTEST_HASH else what
    report = block_picture(existing_database(), settings.home_path, named, reason, utc_now())
    text = f"{counted(report.pictures, 'picture')} deleted; {counted(report.new_hashes, 'hash', 'hashes')} blocked."
    show(report, json_output, text)


@bizcharts.command()
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
    show(import_search(archive, database_at(utc_now()), query, most, utc_now(), on_terminal), json_output)


@bizcharts.command("import")
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
@as_json
def import_archive(
    first: datetime | None,
    last: datetime | None,
    recent: int | None,
    pages: int | None,
    onwards: bool,
    backfill: bool,
    json_output: bool,
) -> None:
    """Import posts from the Warosu archive.

    Days are imported by a backfill in Dagster, index pages at once. Complete days are not imported again.
    """
    ways = [first is not None, recent is not None, pages is not None, onwards, backfill]
    if sum(ways) != 1 or (last and not first):
        raise click.UsageError("give one of --from (with or without --to), --last, --pages, --continue, --backfill")
    check_order(first, last)
    if pages is not None:
        from bizcharts_pipeline.archive.patience import SHORT_PATIENCE_SECONDS, Archive
        from bizcharts_pipeline.archive.search_import import import_newest

        archive = Archive.from_settings(load_settings(), patience=SHORT_PATIENCE_SECONDS)
        show(import_newest(archive, database_at(utc_now()), pages, utc_now(), on_terminal), json_output)
        return
    from bizcharts_pipeline.cli.backfill import Way, check_days, days_to_fetch, launch_backfill
    from bizcharts_pipeline.service.serve import refuse_other_home

    settings = load_settings()
    refuse_other_home(Path(os.environ["DAGSTER_HOME"]), settings.home_path)
    way: Way = "onwards" if onwards else "before" if backfill else "between"
    bounds = (first.date() if first else None, last.date() if last else None)
    if recent:
        bounds = (max(settings.archive_start, utc_now().date() - timedelta(days=recent)), None)
    if bounds[0]:  # before a database is created
        check_days(settings.archive_start, utc_now(), bounds[0], bounds[1])
    database = open_database() if way == "between" else existing_database()
    days = days_to_fetch(database, settings.archive_start, utc_now(), way, *bounds)
    if not days:
        show({"days": 0}, json_output, "Nothing to do: all these days are complete.")
        return
    show(launch_backfill(days, settings.home_path), json_output)


@bizcharts.command("import-sqlite")
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
    from bizcharts_pipeline.warehouse.installation import Installation

    settings = load_settings()
    installation = Installation.of(settings)
    installation.check()
    database = Database(installation.database, settings.database_wait_seconds, installation)
    report = import_posts_db(file, database, settings.home_path, settings.board, utc_now(), on_terminal, scale)
    show(report, json_output)


bizcharts.add_command(backup)
bizcharts.add_command(restore)
bizcharts.add_command(repair)
bizcharts.add_command(snapshot)
bizcharts.add_command(index)
bizcharts.add_command(coins)
bizcharts.add_command(moved)
bizcharts.add_command(api)
bizcharts.add_command(export)
bizcharts.add_command(backtest)
bizcharts.add_command(open_app)
bizcharts.add_command(label)
bizcharts.add_command(labels)
bizcharts.add_command(models)
bizcharts.add_command(pods)
bizcharts.add_command(endpoint)
bizcharts.add_command(alerts)
bizcharts.add_command(serve)
bizcharts.add_command(run)
bizcharts.add_command(health)
bizcharts.add_command(init)
bizcharts.add_command(repair_clock)


def open_database() -> "Database":
    """Return the installation's database; imported late, so that `--help` is fast."""
    from bizcharts_pipeline.warehouse.database import Database

    return Database.from_settings(load_settings())


def database_at(now: datetime) -> "Database":
    """Return the installation's database for writing rows at ``now``, after a check of the clock."""
    from bizcharts_pipeline.warehouse.present import Witnesses, check_clock

    settings, database = load_settings(), open_database()
    check_clock(database, settings.home_path, Witnesses.of(settings), now)
    return database


def existing_database() -> "Database":
    """Return the installation's database for a command that needs an existing one."""
    from bizcharts_pipeline.warehouse.database import Database

    return Database.existing(load_settings())


def main(command: Callable[..., Any] = bizcharts) -> None:
    """Run the command line: exit status 0; with one line on stderr 1 for a failure, 2 for bad usage, and 128 and its
    number for a signal.
    """
    make_private()
    debug = is_switched_on(DEBUG)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="bizcharts: %(message)s")
    try:
        command(standalone_mode=False)
    except click.exceptions.Abort as stopped:
        number, *_ = getattr(stopped.__cause__, "args", ()) or (signal.SIGINT,)
        fail("Stopped.", STATUS + number)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "bizcharts"
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        fail(f"{message}{end} See `{path} --help`.", error.exit_code)
    except click.ClickException as error:
        fail(error.format_message())
    except BizchartsError as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"{error.filename or 'a file'}: permission denied; check its owner, and the user that runs this command.")
    except OSError as error:
        fail(f"{error.filename or 'this machine'}: {error.strerror or error}")
    except Exception as error:
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        fail(f"unexpected {type(error).__name__}: {error} (BIZCHARTS_DEBUG=1 shows where)")


def fail(message: str, status: int = 1) -> None:
    """Print one line on stderr and exit with ``status``."""
    click.echo("bizcharts: " + printable(" ".join(message.split())), err=True)
    sys.exit(status)
