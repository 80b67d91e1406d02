"""Commands ``bizcharts index`` and ``bizcharts coins``: the published numbers as tables, CSV or JSON."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from bizcharts_pipeline.cli.output import WIDTH, as_json, moment, number, print_table, to_json
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.settings import load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.index.monthly import Month
    from bizcharts_pipeline.settings import FearGreedSettings, Settings
    from bizcharts_pipeline.warehouse.published import Reading

MAX_DAYS, MAX_HOURS, MAX_MONTHS = 36_600, 878_400, 1_200  # a century
NOTHING_YET = (
    "There is no reading yet. `make serve` polls the board every minute; `bizcharts import --last 60` fetches the past."
)

as_csv = click.option("--csv", "csv_output", is_flag=True, help="Print CSV, all columns, times in UTC.")


@click.command("index")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), help="How many days, the newest first.  [default: 10]")
@click.option("--hours", type=click.IntRange(1, MAX_HOURS), help="How many hours, instead of days.")
@click.option(
    "--months",
    type=click.IntRange(1, MAX_MONTHS),
    help="How many months: stances, and people's estimated stances.",
)
@as_csv
@as_json
def index(days: int | None, hours: int | None, months: int | None, csv_output: bool, json_output: bool) -> None:
    """Show the Fear/Greed index, the newest reading first.

    Each row is the state at the end of a UTC day or hour, in its current vintage; the first row is of the running day
    or hour. With --months: the mean stance of each calendar month, computed from the posts that are stored now.
    """
    from bizcharts_pipeline.core.clock import utc_now
    from bizcharts_pipeline.warehouse.as_of import newest_readings
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.rescoring import rescoring

    if sum(map(bool, (days, hours, months))) > 1:
        raise click.UsageError("give one of --days, --hours, --months")
    _one_format(csv_output, json_output)
    settings = load_settings()
    if months:
        _show_months(settings, months, csv_output, json_output)
        return
    parameters = settings.fear_greed
    with Database.existing(settings).read() as connection:
        readings = newest_readings(connection, "hour" if hours else "day", hours or days or 10)
        newest = newest_readings(connection, "hour", 1)
        progress = rescoring(connection, utc_now(), parameters.history_days)
    if json_output:
        click.echo(to_json([_with_words(reading, parameters) for reading in readings]))
    elif csv_output:
        from bizcharts_pipeline.warehouse.published import Reading

        columns = [*(field.name for field in fields(Reading)), "borderline", "words"]
        _print_csv(columns, [_with_words(reading, parameters) for reading in readings])
    elif not readings:
        click.echo(NOTHING_YET)
    else:
        if newest:
            click.echo(fill(_sentence(newest[0], parameters), WIDTH) + "\n")
        from bizcharts_pipeline.index.words import marks_borderline, notes

        mark = marks_borderline(readings)

        columns = [f"{'hour' if hours else 'day'} (UTC)", "index", "90 %", "stance", "90 %", "posts", "class"]
        print_table(columns, [_row(reading, by_hour=bool(hours), mark=mark) for reading in readings])
        click.echo("\n" + "\n".join(notes(readings, parameters)))
        if progress:
            click.echo("\n" + fill(str(progress), WIDTH))


def _show_months(settings: "Settings", most: int, csv_output: bool, json_output: bool) -> None:
    from bizcharts_pipeline.core.clock import utc_now
    from bizcharts_pipeline.index.monthly import Month, monthly_stances
    from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
    from bizcharts_pipeline.warehouse.as_of import newest_readings
    from bizcharts_pipeline.warehouse.database import Database

    months: list[Month] = []
    with Database.existing(settings).read() as connection:
        if newest := newest_readings(connection, "hour", 1):
            generals = sorted(NON_CRYPTO_GENERALS)
            model = newest[0].model_version
            months = monthly_stances(connection, model, most, utc_now(), settings.fear_greed, generals)
    if json_output:
        click.echo(to_json(months))
    elif csv_output:
        _print_csv([field.name for field in fields(Month)], [asdict(month) for month in months])
    elif not months:
        click.echo(NOTHING_YET)
    else:
        print_table(["month (UTC)", "stance", "90 %", "people", "90 %", "posts"], [_month_row(one) for one in months])
        click.echo("\n" + fill(_about_people(months[0]), WIDTH))


def _month_row(month: "Month") -> list[str]:
    return [
        f"{month.month:%Y-%m}" + ("" if month.complete else " *"),
        _signed(month.stance),
        _interval(_signed(month.stance_lo), _signed(month.stance_hi)),
        _signed(month.people),
        _interval(_signed(month.people_lo), _signed(month.people_hi)),
        f"{month.n:,}",
    ]


def _about_people(month: "Month") -> str:
    if month.people is None:
        return (
            f"The model {month.model_version} has no usable measurement on gold posts, so people's stance is not "
            "estimated: label posts, train, and materialise model_evaluation."
        )
    return (
        "people: the share of bullish posts minus that of bearish posts by people's labels, estimated from the stance "
        "and the model's scores on gold posts. *: so far."
    )


@click.command("coins")
@click.option("--max", "most", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most coins.")
@as_csv
@as_json
def coins(most: int, csv_output: bool, json_output: bool) -> None:
    """Show today's sentiment of the coins.

    The most mentioned first. The score is a stance from -1 (bearish) to 1 (bullish) with its 90 % interval; with few
    mentions it is wide.
    """
    from bizcharts_pipeline.warehouse.as_of import coin_board
    from bizcharts_pipeline.warehouse.database import Database

    _one_format(csv_output, json_output)
    with Database.existing(load_settings()).read() as connection:
        every = coin_board(connection, "day")
    readings = every[:most]
    if json_output:
        click.echo(to_json(readings))
    elif csv_output:
        from bizcharts_pipeline.warehouse.published import CoinReading

        _print_csv([field.name for field in fields(CoinReading)], [asdict(reading) for reading in readings])
    elif not readings:
        click.echo(NOTHING_YET)
    else:
        first = readings[0]
        running = "" if first.final else " so far"
        click.echo(f"{first.bucket_start:%Y-%m-%d} (UTC){running}, model {first.model_version}\n")
        print_table(
            ["coin", "stance", "90 % interval", "mentions", "effective"],
            [
                [
                    reading.coin_symbol,
                    _signed(reading.score),
                    _interval(_signed(reading.lo), _signed(reading.hi)),
                    f"{reading.mentions:,}",
                    f"{reading.n_eff:.1f}",
                ]
                for reading in readings
            ],
        )
        if len(every) > most:
            click.echo(f"\n{most} of {len(every)} coins; --max {len(every)} shows all.")


def _sentence(reading: "Reading", parameters: "FearGreedSettings") -> str:
    """Return the newest reading as a sentence."""
    from bizcharts_pipeline.index.words import in_words

    at = f"{moment(reading.bucket_start)} UTC" + ("" if reading.final else ", so far")
    value = "" if reading.value is None else f"index {number(reading.value)} of 100, "
    stance = f"Stance {_signed(reading.stance)} ({_interval(_signed(reading.stance_lo), _signed(reading.stance_hi))})"
    return (
        f"Hour from {at}: {value}{in_words(reading, parameters)}. {stance}; {counted(reading.n, 'post')}, "
        f"model {reading.model_version}."
    )


def _with_words(reading: "Reading", parameters: "FearGreedSettings") -> dict[str, Any]:
    """Return a reading's columns for programs, with its description in words."""
    from bizcharts_pipeline.index.words import in_words, is_borderline

    return {**asdict(reading), "borderline": is_borderline(reading), "words": in_words(reading, parameters)}


def _row(reading: "Reading", *, by_hour: bool, mark: bool) -> list[str]:
    from bizcharts_pipeline.index.words import in_short

    start = f"{reading.bucket_start:%m-%d %H:%M}" if by_hour else f"{reading.bucket_start:%Y-%m-%d}"
    return [
        start + ("" if reading.final else " *"),
        number(reading.value),
        _interval(number(reading.lo), number(reading.hi)),
        _signed(reading.stance),
        _interval(_signed(reading.stance_lo), _signed(reading.stance_hi)),
        f"{reading.n:,}",
        in_short(reading, mark=mark),
    ]


def _interval(lo: str, hi: str) -> str:
    return "-" if "-" in (lo, hi) else f"{lo} to {hi}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _one_format(csv_output: bool, json_output: bool) -> None:
    if csv_output and json_output:
        raise click.UsageError("give one of --csv, --json")


def _print_csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            [value.isoformat() if hasattr(value := row[column], "isoformat") else value for column in columns]
        )
