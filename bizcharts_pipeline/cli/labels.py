"""Commands ``bizcharts label`` and ``bizcharts labels …``: the labelling page, import, export and statistics."""

import getpass
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bizcharts_pipeline.cli.output import (
    DAY,
    RegularFile,
    as_json,
    check_order,
    existing_file,
    moment,
    new_file,
    print_table,
    show,
    to_json,
)
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.core.rows import Source
    from bizcharts_pipeline.labels.ledger import LabelImport, LabelLedger
    from bizcharts_pipeline.labels.scales import Scale


def _read_scale(context: click.Context, option: click.Parameter, text: str | None) -> "Scale | None":
    from bizcharts_pipeline.labels.scales import ScaleError, parse_scale

    try:
        return parse_scale(text) if text is not None else None
    except ScaleError as error:
        raise click.BadParameter(str(error), context, option) from None


rating_scale = click.option(
    "--scale",
    callback=_read_scale,
    help="Rating scale of the file, if not 1 bearish, 2 neutral, 3 bullish: 0-2, -1-1, 1-5, 1-10, or the meaning of "
    "each rating, as 0=bearish,1=neutral,2=bullish.",
)


@click.command()
@click.option("--source", type=click.Choice(["live", "warosu"]), help="Only posts from this source.")
@click.option("--from", "first", type=DAY, metavar="YYYY-MM-DD", help="Posts of this day (UTC) and later.")
@click.option("--to", "last", type=DAY, metavar="YYYY-MM-DD", help="Posts of this day (UTC) and earlier.")
@click.option("--queue", is_flag=True, help="In the order of `label_queue`; a model is unsure of half of its posts.")
@click.option("--all", "everything", is_flag=True, help="Also labelled posts.")
@click.option("--session", help="Name of the session; each has its own order of posts.  [default: today]")
@click.option("--labeller", help="Name of the labeller.  [default: the user's name on this machine]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port on 127.0.0.1; default: the setting.")
def label(
    source: str | None,
    first: datetime | None,
    last: datetime | None,
    queue: bool,
    everything: bool,
    session: str | None,
    labeller: str | None,
    port: int | None,
) -> None:
    """Label posts in the browser.

    One key labels a post: 1 bearish, 2 neutral, 3 bullish, 0 skip, u undo; ? shows all keys. Each label is on disk
    before the next post shows. docs/labelling-guide.md explains the classes.
    """
    from bizcharts_pipeline.labels.labellers import labeller_name
    from bizcharts_pipeline.labels.offers import OfferFilters
    from bizcharts_pipeline.web.serve import serve_labeller

    check_order(first, last)
    filters = OfferFilters(
        labeller=labeller_name(labeller or "") or getpass.getuser(),
        session=session or f"{utc_now():%Y-%m-%d}",
        source=cast("Source | None", source),
        first=first.date() if first else None,
        last=last.date() if last else None,
        queue=queue,
        everything=everything,
    )
    serve_labeller(load_settings(), filters, port, say=click.echo)


@click.group()
def labels() -> None:
    """Import, export and count labels; estimate costs."""


@labels.command("import")
@existing_file
@rating_scale
@as_json
def import_file(file: Path, scale: "Scale | None", json_output: bool) -> None:
    """Import the labels of FILE into the ledger.

    FILE is CSV, JSONL, or a SQL dump of the first implementation. The import may be repeated. Invalid rows are reported
    and kept in a separate file. `undo-import` undoes the import.
    """
    from bizcharts_pipeline.labels.ledger import REJECTED
    from bizcharts_pipeline.labels.transfer import import_labels
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.installation import Installation

    settings = load_settings()
    installation, aside = Installation.of(settings), settings.home_path / REJECTED
    installation.check()
    database = Database.configured(settings)  # may not exist yet
    report = import_labels(
        file, open_ledger(), aside, scale=scale, now=utc_now(), database=database, begin=installation.begin
    )
    show(report, json_output)


@labels.command("imports")
@as_json
def list_imports(json_output: bool) -> None:
    """List the imported files, and whether they were undone."""
    imports = existing_ledger().imports()
    if json_output:
        click.echo(to_json(imports))
    elif imports:
        print_table(["id", "file", "imported", "scale", "labels", "known", "invalid", "undone"], _import_rows(imports))
    else:
        click.echo("No labels were imported.")


@labels.command("undo-import")
@click.argument("import_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@as_json
def undo(import_id: int, json_output: bool) -> None:
    """Undo the import ID; `imports` lists the ids.

    Nothing is deleted: the ledger notes that the labels no longer count. The same file may be imported again.
    """
    from bizcharts_pipeline.labels.undoing import undo_import

    show(undo_import(existing_ledger(), import_id, utc_now()), json_output)


@labels.command("export")
@new_file
@click.option("--history", is_flag=True, help="Also earlier labels of the same post and labeller.")
@as_json
def export_file(file: Path, history: bool, json_output: bool) -> None:
    """Write the labels to FILE: .csv, .jsonl or .parquet.

    It writes each labeller's newest label of each post, with the post as the labeller saw it. Texts are as posted:
    think before you publish them.
    """
    from bizcharts_pipeline.labels.transfer import export_labels

    show(export_labels(existing_ledger(), file, history=history), json_output)


@labels.command()
@click.argument("file", required=False, type=RegularFile(exists=True))
@as_json
def stats(file: Path | None, json_output: bool) -> None:
    """Count labels, and show the agreement among people.

    Of the ledger, or of FILE.
    """
    from bizcharts_pipeline.labels.pictures import posts_without_picture
    from bizcharts_pipeline.labels.statistics import file_statistics, ledger_statistics
    from bizcharts_pipeline.labels.worth import newest_worth
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.errors import DatabaseError
    from bizcharts_pipeline.warehouse.installation import Installation

    settings = load_settings()
    after = timedelta(days=settings.labelling.relabel_after_days)
    if file:
        show(file_statistics(file, after), json_output)
        return
    ledger = existing_ledger()
    found = ledger_statistics(ledger, after)
    try:
        lost = Installation.of(settings).has_lost_database()
        never_made = not lost and not Database.configured(settings).exists()
        database = None if never_made else Database.existing(settings)
        if not settings.labelling.text_only:
            found = replace(found, without_picture=posts_without_picture(database, ledger))
        if database:
            with database.read() as connection:
                worth = newest_worth(connection)
            found = replace(found, worth=str(worth) if worth else None)
    except DatabaseError as error:  # labels are also counted while another process holds the database
        click.echo(f"Posts without a stored picture are not counted, nor what more labels add: {error}", err=True)
    show(found, json_output)


@labels.command()
@click.option("--more", type=click.IntRange(1, 1_000_000), help="Number of additional labels.  [default: 300]")
@as_json
def worth(more: int | None, json_output: bool) -> None:
    """Show what more labels would add to the text model.

    By the learning curve that the job `training` measured last: expected points of accuracy and macro-F1 with an 80 %
    band, the time that labelling takes, and whether it pays. Then whether the labels since the newest model are worth
    another training, and what that costs. docs/training-flow.md explains the figures.
    """
    from bizcharts_pipeline.labels.worth import NoWorth, newest_worth
    from bizcharts_pipeline.models.retraining import Terms, retrainings
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    with Database.existing(settings).read() as connection:
        found = newest_worth(connection, more)
        again = retrainings(connection, settings.home_path, Terms.of(settings))
    due = [sentence for each in again for sentence in each.sentences]
    no_curve = "There is no learning curve yet: `bizcharts run training` measures one from 30 posts of each class on."
    if found is None and not due:
        raise NoWorth(no_curve)
    figures = {**(asdict(found) if found else {}), "trainings": again}
    show(figures if json_output else "\n".join([str(found) if found else no_curve, *due]), json_output)


@labels.command()
@as_json
def estimate(json_output: bool) -> None:
    """Estimate posts and cost of the next run of `auto_labels`.

    Nothing is sent. Spending limits and prices are settings, under [auto_labels], [openai] and [gemini].
    """
    from bizcharts_pipeline.autolabel.estimate import estimate as estimated
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    found = estimated(Database.existing(settings), settings.home_path, settings, utc_now())
    if json_output:
        click.echo(to_json(found))
        return
    print_table(
        ["provider", "model", "by", "posts", "picture", "paid", "USD about", "at most", "days"],
        [
            [
                *(each.version.provider, each.version.model, each.version.endpoint),
                *(f"{count:,}" for count in (each.posts, each.with_picture, each.already_paid)),
                *(f"{each.likely_usd:.4f}", f"{each.worst_usd:.4f}", f"{each.days:.2f}"),
            ]
            for each in found.providers
        ],
    )
    click.echo(
        "by: the endpoint; picture: posts with a picture; paid: posts already paid for.\n"
        f"A run stops at {found.usd_per_run} USD; {found.usd_per_month - found.month.usd:.2f} of "
        f"{found.usd_per_month} USD are left this month.\nNothing was sent."
    )


@labels.command()
@as_json
def restore(json_output: bool) -> None:
    """Rebuild a lost label ledger from the database.

    Labels in the ledger stay. Labels that were undone are not in the database, and are lost.
    """
    from bizcharts_pipeline.labels.recovery import restore_ledger
    from bizcharts_pipeline.warehouse.database import Database

    show(restore_ledger(Database.existing(load_settings()), open_ledger()), json_output)


def _import_rows(imports: "list[LabelImport]") -> list[list[str]]:
    return [
        [
            *(str(each.import_id), each.file, moment(each.imported_at) or "unknown", each.scale),
            *(f"{count:,}" for count in (each.labels, each.known, each.rejected)),
            moment(each.retracted_at) or "-",
        ]
        for each in imports
    ]


def open_ledger() -> "LabelLedger":
    """Return the installation's label ledger for a command.

    Raises:
        DatabaseLost: the home has been used, and all its content is missing.
    """
    from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
    from bizcharts_pipeline.warehouse.installation import check_home

    home = load_settings().home_path
    check_home(home)
    return LabelLedger(home / LEDGER)


def existing_ledger() -> "LabelLedger":
    """Return the installation's label ledger for a command that needs an existing one.

    Raises:
        LedgerError: it does not exist; nothing is created.
    """
    from bizcharts_pipeline.core.ledgers import is_known
    from bizcharts_pipeline.labels.ledger import LedgerError

    ledger = open_ledger()
    if not is_known(ledger.path):
        raise LedgerError(
            f"{ledger.path}: there are no labels yet. Correct BIZCHARTS_HOME, or create some with `bizcharts label` or "
            "`bizcharts labels import FILE`."
        )
    return ledger
