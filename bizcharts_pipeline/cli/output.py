"""Common options and output of all commands: tables for people, JSON for programs."""

import json
import re
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from bizcharts_pipeline.core.errors import BizchartsError

MAX_TABLE_WIDTH = 10_000
WIDTH = 79  # of a sentence, in characters
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


class NoHome(BizchartsError):
    """The home does not exist; an empty one would pretend that nothing has happened in it."""


class RegularFile(click.Path):
    """A path that is no named pipe, device or socket: reading one might wait, or never end."""

    def __init__(self, *, exists: bool) -> None:
        super().__init__(exists=exists, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))
        if path.exists() and not path.is_file():
            self.fail(f"'{path}' is a named pipe, a device or a socket; give a regular file", param, ctx)
        return path


as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON for programs.")
new_file = click.argument("file", type=RegularFile(exists=False))
existing_file = click.argument("file", type=RegularFile(exists=True))


class Day(click.DateTime):
    """A day, as YYYY-MM-DD; midnight as a ``datetime``."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            is_day = _DAY.fullmatch(str(value))
            fault = f"there is no day {value}" if is_day else f"{value!r:.40} is not a day, such as 2025-03-31"
            self.fail(fault, param, ctx)


DAY = Day()


def require_home(home: Path, unknown: str) -> None:
    """Check for a command that ``home`` exists; ``unknown`` says in the error what its ledgers would tell.

    Raises:
        NoHome: it does not exist.
    """
    if not home.is_dir():
        raise NoHome(f"{home}: there is no such folder, so {unknown}. Correct BIZCHARTS_HOME.")


def check_order(first: date | None, last: date | None) -> None:
    """Refuse a range of days given on the command line that ends before it begins.

    Raises:
        click.UsageError: ``first`` is after ``last``.
    """
    if first and last and first > last:
        raise click.UsageError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")


def printable(text: str) -> str:
    """Return ``text`` without control characters, which a terminal would obey; line ends and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def show(report: object, json_output: bool, text: str | None = None) -> None:
    """Print a command's report as ``text`` (by default its ``str``), or as JSON."""
    click.echo(to_json(report) if json_output else printable(text or str(report)))


def megabytes(count: int) -> str:
    """Return a number of bytes as commands print it, in MB."""
    return f"{count / 1e6:,.1f} MB"


def to_json(value: object) -> str:
    """Return dataclasses, times and paths as the JSON that commands print."""

    def default(item: object) -> object:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        if isinstance(item, date):  # datetimes too
            return item.isoformat()
        if isinstance(item, Path | Decimal):
            return str(item)
        raise TypeError(f"{type(item).__name__} cannot be converted to JSON")

    return json.dumps(value, default=default)


def number(value: float | None) -> str:
    """Return an index value as a cell of a table on the terminal."""
    return "-" if value is None else f"{value:.0f}"


def moment(value: datetime | None) -> str:
    """Return a time as a cell of a table on the terminal."""
    return f"{value:%Y-%m-%d %H:%M}" if value else ""


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print rows on the terminal under their column names, if any; numbers are right-aligned, and no line ends in
    blanks."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for index, column in enumerate(columns):
        numeric = all(row[index].lstrip("+-").replace(",", "").replace(".", "").isdigit() for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(printable, row))
    # Rows are never truncated, neither in a pipe nor on a narrow terminal, which wraps the lines itself.
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=MAX_TABLE_WIDTH), table).maximum
    console = Console(width=max(needed, 1))
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())
