"""``bizcharts init``: making the database where none is made by itself."""

import click

from bizcharts_pipeline.console import as_json, show
from bizcharts_pipeline.settings import load_settings


@click.command("init")
@click.option("--new", "anew", is_flag=True, help="Although this installation has had a database, which is lost.")
@as_json
def init(anew: bool, json_output: bool) -> None:
    """Make an empty database.

    A first start needs no such command: whatever writes first makes the database. Where the installation has had one,
    none is made without --new. A database that can be opened is never touched; the rest of a lost one is kept beside
    the new one.
    """
    from bizcharts_pipeline.warehouse.beginning import make_database

    settings = load_settings()
    kept = make_database(settings, anew=anew)
    text = f"{settings.database_path}: made, empty." + "".join(f" Kept: {path}." for path in kept)
    show({"database": settings.database_path, "kept": [str(path) for path in kept]}, json_output, text)
