"""Commands ``bizcharts backup``, ``restore``, ``repair`` and ``snapshot``."""

import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import click

from bizcharts_pipeline.cli.output import as_json, existing_file, megabytes, new_file, show, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings

PARTS = ("database", "ledgers", "models", "datasets", "images")


@click.command()
@new_file
@click.option("--images", is_flag=True, help="Include the images, and those of data sets.")
@as_json
def backup(file: Path, images: bool, json_output: bool) -> None:
    """Back all data up to the new FILE.

    FILE holds the database, the ledgers, models and data sets. All of them are checked first; if one is damaged, it is
    named and no backup is made. Exit status 1 also if --images finds images missing. The service may run meanwhile.
    """
    from bizcharts_pipeline.backup.create import create
    from bizcharts_pipeline.core.sqlite_seal import ledger_paths
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    home, database = settings.home_path, Database.configured(settings).file()
    if not ledger_paths(home):  # labels can be made before the database exists
        database.require()
    elif database.installation:
        database.installation.check()
    made = create(database, home, file, utc_now(), images=images)
    show(made, json_output)
    for missing in made.missing:
        click.echo(f"bizcharts: {missing}", err=True)
    if made.missing:  # a file is made of what is left, but the status keeps the nightly timer from deleting older ones
        sys.exit(1)


@click.command()
@existing_file
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Restore only this part; may be repeated.")
@as_json
def restore(file: Path, only: tuple[str, ...], json_output: bool) -> None:
    """Restore the backup FILE, replacing the present data.

    The service must not be running. All of FILE is checked before anything is replaced. Replaced files are kept.
    Without --only, ledgers with newer labels are replaced too.
    """
    from bizcharts_pipeline.backup.restore import restore as restore_backup
    from bizcharts_pipeline.service.serve import instance_lock
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.installation import Installation

    settings = load_settings()
    home = settings.home_path
    database = replace(Database.configured(settings).file(), installation=None)  # may be lost
    with instance_lock(home) if home.is_dir() else nullcontext():
        restored = restore_backup(database, home, file, utc_now(), only)
        if database.exists():
            Installation.of(settings).confirm()
    show(restored, json_output)


@click.command()
@click.option("--set-aside", "aside", is_flag=True, help="Move damaged files away, where the rest works without them.")
@click.option("--accept", "taken", is_flag=True, help="Accept files that another program has changed.")
@as_json
def repair(aside: bool, taken: bool, json_output: bool) -> None:
    """Check all data, and name what is damaged.

    Without an option nothing is changed, but for a killed restore, which is completed. Nothing is ever deleted. Exit
    status 1 if damage is left.
    """
    from bizcharts_pipeline.backup import repair as repairs
    from bizcharts_pipeline.backup.files import missing_champion, missing_dataset_images, missing_images
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.installation import Installation

    settings = load_settings()
    home = settings.home_path
    if not Installation.of(settings).has_existed():
        Database.existing(settings)  # reports what is missing
    database = replace(Database.configured(settings).file(), installation=None)  # may be lost
    done = repairs.set_aside(database, home, utc_now()) if aside else []
    done += repairs.accept(database, home) if taken else []
    left = repairs.find_damage(database, home)
    lacking = missing_champion(database, home)
    # Missing images are no damage: a backup made without them lacks all.
    of_data_sets = missing_dataset_images(home, [damage.path for damage in left])
    missing = list(filter(None, [lacking, missing_images(database, home), of_data_sets]))
    for each in missing:
        click.echo(f"bizcharts: {each}", err=True)
    if json_output:
        click.echo(to_json({"repaired": list(map(asdict, done)), "damaged": list(map(asdict, left))}))
    else:
        for step in done:
            click.echo(f"{step.path}: {step.outcome}." + (f" Kept as {step.kept}." if step.kept else ""))
        for damage in left:
            click.echo(damage.problem)
            if damage.set_aside:
                click.echo(f"  bizcharts repair --set-aside: {damage.set_aside}")
            if damage.accept:
                click.echo(f"  bizcharts repair --accept: {damage.accept}")
        if not left:
            click.echo("Nothing is damaged, but files are missing." if missing else "Nothing is damaged.")
    if left or lacking:
        sys.exit(1)


@click.command()
@new_file
@as_json
def snapshot(file: Path, json_output: bool) -> None:
    """Write a copy of the database to FILE, for your own queries.

    An earlier copy of that name is replaced.
    """
    from bizcharts_pipeline.warehouse.copies import snapshot as make_snapshot
    from bizcharts_pipeline.warehouse.database import Database

    make_snapshot(Database.existing(load_settings()).file(), file)
    text = f"{file}: a current copy, {megabytes(file.stat().st_size)}; changes to it do not affect the database."
    show({"file": file, "bytes": file.stat().st_size}, json_output, text)
