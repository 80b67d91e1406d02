"""``bizcharts pods …``: the pods of this installation, seen and ended without Dagster."""

import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.console import as_json, moment, print_table, to_json
from bizcharts_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.ledger import PodLedger
    from bizcharts_pipeline.pods.reaper import Listed


@click.group()
def pods() -> None:
    """See and end rented pods.

    Only those whose names begin with [pods] name are listed or touched. RunPod's key is read from RUNPOD_API_KEY.
    """


@pods.command("list")
@as_json
def list_pods(json_output: bool) -> None:
    """List the pods of this installation, and what was spent this month."""
    from bizcharts_pipeline.pods.ledger import LEDGER
    from bizcharts_pipeline.pods.providers import open_provider
    from bizcharts_pipeline.pods.reaper import listing
    from bizcharts_pipeline.pods.steady_clock import open_clock

    settings = load_settings()
    now = open_clock((settings.home_path / LEDGER).parent)()
    ledger = _ledger(settings)
    listed = listing(open_provider(settings), ledger, settings.pods, now, _not_here)
    month = f"{now:%Y-%m}"
    spent = ledger.spent(month)
    if json_output:
        click.echo(to_json({"pods": listed, "month": month, "usd": spent.usd, "booked_usd": spent.booked_usd}))
        return
    if listed:
        columns = ["pod", "name", "GPU", "it says", "ledger", "since (UTC)", "ends by", "USD/h", "orphan"]
        print_table(columns, [_row(pod) for pod in listed])
    click.echo(
        f"{len(listed) or 'No'} pod{'' if len(listed) == 1 else 's'}. {month}: {spent.usd:.4f} of "
        f"{settings.pods.usd_per_month} USD for {spent.pods} pods"
        + (f", {spent.booked_usd:.4f} of it booked for what is not over." if spent.booked_usd else ".")
    )


@pods.command()
@as_json
def reap(json_output: bool) -> None:
    """End the pods of this installation that no run works with.

    A pod that a killed run left at work counts as one: start the job again first if it is to be taken up.
    """
    from bizcharts_pipeline.pods import reaper
    from bizcharts_pipeline.pods.ledger import LEDGER
    from bizcharts_pipeline.pods.providers import open_provider
    from bizcharts_pipeline.pods.steady_clock import open_clock

    settings = load_settings()
    report = reaper.reap(
        open_provider(settings),
        _ledger(settings),
        settings.pods,
        open_clock((settings.home_path / LEDGER).parent),
        _not_here,
    )
    if json_output:
        click.echo(to_json(report))
    else:
        for what, those in (("ended", report.ended), ("left at work", report.running)):
            click.echo(f"{what}: {', '.join(those) or 'none'}")
    for trouble in report.failed:
        click.echo(trouble, err=True)
    if report.failed:
        sys.exit(1)


def _row(pod: "Listed") -> list[str]:
    price = "" if pod.usd_per_hour is None else f"{Decimal(pod.usd_per_hour):.3f}"
    return [
        *(pod.pod_id or "not known", pod.name, pod.gpu or "", str(pod.status), str(pod.state or "unknown")),
        *(moment(pod.created_at), moment(pod.deadline), price, pod.orphan or ""),
    ]


def _ledger(settings: Settings) -> "PodLedger":
    from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger

    return PodLedger(settings.home_path / LEDGER)


def _not_here(run_id: str) -> bool:
    """A run of this machine holds the lock of its job; no other run is known here."""
    return False
