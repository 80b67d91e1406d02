"""``bizcharts api`` and ``bizcharts export``: the published numbers for other programs."""

from datetime import datetime
from pathlib import Path

import click

from bizcharts_pipeline.cli.output import as_json, show
from bizcharts_pipeline.core.clock import utc_moment, utc_now
from bizcharts_pipeline.settings import load_settings


def as_moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Return the value of a command's option as a time: ISO 8601; without a zone it is UTC."""
    if value is None:
        return None
    try:
        return utc_moment(value)
    except ValueError:
        raise click.BadParameter(f"{value!r:.60} is no ISO 8601 time such as 2026-03-02T14:00") from None


def in_the_past(moment: datetime | None, now: datetime, option: str = "--as-of") -> None:
    """Refuse the ``moment`` of a command's option after ``now``; both naive UTC.

    Raises:
        click.UsageError: it is after ``now``.
    """
    if moment is not None and moment > now:
        raise click.UsageError(f"{option} {moment:%Y-%m-%d %H:%M} is in the future")


@click.command()
@click.option("--host", help="Address to listen at; default: the setting.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; default: the setting.")
def api(host: str | None, port: int | None) -> None:
    """Serve the published numbers over HTTP, until Ctrl-C.

    It only reads. docs/api.md says what it answers and who can reach it.
    """
    from bizcharts_pipeline.api.serve import serve_api

    serve_api(load_settings(), host, port, say=click.echo)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--as-of", callback=as_moment, metavar="TIME", help="What was computed and knowable then (ISO 8601).")
@as_json
def export(folder: Path, as_of: datetime | None, json_output: bool) -> None:
    """Write the published numbers to the folder DIR.

    Index and coins by hour and day as CSV, Parquet and JSON, with a data dictionary, a badge and a report. Files of an
    earlier export are replaced, each of them whole.
    """
    from bizcharts_pipeline.exports.write import export as write_export
    from bizcharts_pipeline.warehouse.database import Database

    now = utc_now()
    in_the_past(as_of, now)
    settings = load_settings()
    show(write_export(Database.existing(settings), folder, settings.fear_greed, now, as_of), json_output)
