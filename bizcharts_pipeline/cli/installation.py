"""Commands ``bizcharts init`` and ``repair-clock``: repair of an installation after a lost database or a wrong
clock.
"""

import os
from pathlib import Path

import click

from bizcharts_pipeline.cli.output import as_json, print_table, require_home, show, to_json
from bizcharts_pipeline.core.clock import to_epoch, utc_now
from bizcharts_pipeline.settings import load_settings, load_settings_for_move


@click.command("init")
@click.option("--new", "replace", is_flag=True, help="Also if the database of this installation was lost.")
@as_json
def init(replace: bool, json_output: bool) -> None:
    """Create an empty database.

    A first start does not need this command: the first command that writes creates the database. If the installation
    had a database before, --new is required. A database that can be opened is never changed; the remains of a lost one
    are kept next to the new one.
    """
    from bizcharts_pipeline.warehouse.beginning import make_database

    settings = load_settings()
    kept = make_database(settings, replace=replace)
    text = f"{settings.database_name}: created, empty." + "".join(f" Kept: {path}." for path in kept)
    show({"database": settings.database_name, "kept": [str(path) for path in kept]}, json_output, text)


@click.command("migrate")
@click.option(
    "--to", "name", required=True, metavar="DATABASE", help="The new database, as BIZCHARTS_DATABASE names it."
)
@click.option(
    "--files",
    metavar="FOLDER",
    help="Folder of a new lake's files, from the repository on if relative, or s3://BUCKET/PREFIX; default: "
    "BIZCHARTS_DATABASE_FILES.",
)
@as_json
def migrate(name: str, files: str | None, json_output: bool) -> None:
    """Move all tables and ledgers into another kind of database.

    From the DuckDB file to a lake, or back; the ledgers go from files of the home to PostgreSQL, or back. Stop the
    services of all machines first. All rows are compared. The old database is kept, and no command uses it any more:
    set BIZCHARTS_DATABASE to the new one. May be killed and repeated. With the address of the present lake, only
    ledgers that are still files are moved.
    """
    from bizcharts_pipeline.moving.home import move_home

    target = load_settings_for_move(database=name, **({"database_files": files} if files else {}))
    settings = load_settings_for_move()  # last, as it says where the ledgers are
    require_home(settings.home_path, "there is nothing to move")
    moved = move_home(settings, target, utc_now())
    show(moved, json_output, "\n".join(map(str, moved)))


@click.command("repair-clock")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--trust-clock", is_flag=True, help="If no source responds: you have checked that the clock is right.")
@as_json
def repair_clock(dry_run: bool, trust_clock: bool, json_output: bool) -> None:
    """Remove rows that a wrong clock has dated in the future.

    Set the clock and stop the service first. Future polls, index readings and prices are deleted, with the
    scheduler's ticks, and so are posts dated in the future, with their scores; other posts, scores and labels stay.
    Then run `bizcharts run history` to compute the index again.
    """
    from bizcharts_pipeline.core.clock import ClockDisagrees, check_against
    from bizcharts_pipeline.service.scheduler_records import forget_future
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.misdated import repair
    from bizcharts_pipeline.warehouse.present import Witnesses

    settings, now = load_settings(), utc_now()
    database = Database.existing(settings)
    told = Witnesses.of(settings).ask()
    if told:
        check_against(now, *told)
    elif not trust_clock:
        raise ClockDisagrees(
            f"No source responds that could confirm the clock, which says {now:%Y-%m-%d %H:%M} UTC. Nothing was done; "
            "give --trust-clock if you have checked that it is right."
        )
    found = repair(database, now, dry_run=dry_run)
    ticks = forget_future(Path(os.environ["DAGSTER_HOME"]), to_epoch(now), settings.postgres, dry_run=dry_run)
    if json_output:
        click.echo(to_json({"rows": found, "scheduler_ticks": ticks}))
        return
    if found:
        print_table(["table", "rows", "fate"], [[each.table, f"{each.rows:,}", each.fate] for each in found])
    else:
        click.echo("No table has future rows.")
    removed = "would be removed" if dry_run else "removed"
    click.echo(f"{ticks:,} ticks of the scheduler {removed}." if ticks else "The scheduler has no future ticks.")
    click.echo("Nothing was done." if dry_run else "`bizcharts run history` computes the index again.")
