"""``bizcharts moved``: what moved the stance between two moments."""

from datetime import datetime, timedelta
from textwrap import fill
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.output import WIDTH, as_json, moment, print_table, to_json
from bizcharts_pipeline.cli.publishing import as_moment, in_the_past
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.index.moved import MovedThread, Part

DEFAULT_SPAN = timedelta(days=1)
MAX_CHARACTERS = 66  # of a post: with the id before it, a line of 80 columns


@click.command()
@click.option(
    "--from",
    "start",
    callback=as_moment,
    metavar="TIME",
    help="The earlier moment (ISO 8601, UTC).  [default: 24 hours before]",
)
@click.option("--to", "end", callback=as_moment, metavar="TIME", help="The later moment.  [default: now]")
@click.option(
    "--as-of",
    callback=as_moment,
    metavar="TIME",
    help="Only what was stored by this moment.  [default: all that is stored]",
)
@as_json
def moved(start: datetime | None, end: datetime | None, as_of: datetime | None, json_output: bool) -> None:
    """Show what moved the stance between two moments.

    The contributions add up to the change; docs/methodology.md defines them.
    """
    from bizcharts_pipeline.index.moved_words import missing_in_words, terms_in_words, view_in_words
    from bizcharts_pipeline.live import explain_moved
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.posts import source_link

    now = utc_now()
    end = end or now
    start = start or end - DEFAULT_SPAN
    for option, given in (("--from", start), ("--to", end), ("--as-of", as_of)):
        in_the_past(given, now, option)
    if start > end:
        raise click.UsageError(f"--from {start:%Y-%m-%d %H:%M} is after --to {end:%Y-%m-%d %H:%M}")
    settings = load_settings()
    change = explain_moved(Database.existing(settings), settings, start, end, as_of)
    if json_output:
        click.echo(to_json(change))
        return
    click.echo(
        f"Stance {change.stance_from:+.3f} at {moment(start)} UTC, {change.stance_to:+.3f} at {moment(end)}.\n"
        f"Change {_signed(change.change)}.\n"
    )
    if missing := missing_in_words(change):
        click.echo(f"{fill(missing, WIDTH)}\n")
    print_table(
        ["moved by", "stance", "threads"], [*map(_row, terms_in_words(change)), ["sum", _signed(change.change), ""]]
    )
    for title, parts in (("coin", change.coins), ("general", change.generals), ("scorer", change.scorers)):
        click.echo()
        print_table([title, "stance", "threads"], [_row(part) for part in view_in_words(parts, change.rest)])
    if not change.threads:
        return
    click.echo("\nThe most influential threads; adds: how much smaller the change is\nwithout the thread.\n")
    print_table(["stance", "adds", "says", "", "thread"], [_thread_row(thread) for thread in change.threads])
    click.echo()
    for thread in change.threads:
        click.echo(
            f"{thread.thread_id}  {_excerpt(thread)}\n    {source_link(thread.source, thread.thread_id, settings)}"
        )
    click.echo(
        f"\nPosts made before {moment(change.named_from)} UTC are not listed separately;\nthey are "
        f"{change.unnamed_weight:.0%} of the weight of the first stance."
    )


def _row(part: "Part") -> list[str]:
    return [part.name, _signed(part.effect), f"{part.threads:,}" if part.threads else ""]


def _thread_row(thread: "MovedThread") -> list[str]:
    return [
        _signed(thread.effect),
        _signed(thread.without),
        f"{thread.score:+.2f}",
        f"{thread.kind}, of {thread.posted_at:%m-%d %H:%M}",
        str(thread.thread_id),
    ]


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _excerpt(thread: "MovedThread") -> str:
    from bizcharts_pipeline.text.slurs import mask_slurs
    from bizcharts_pipeline.text.untrusted import plain

    if thread.subject is None and thread.text is None:
        return "(no text)"
    return mask_slurs(plain(" ".join(filter(None, (thread.subject, thread.text))), MAX_CHARACTERS))
