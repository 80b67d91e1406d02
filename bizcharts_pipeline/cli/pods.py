"""Commands ``bizcharts pods …``: list and terminate the pods of this installation without Dagster."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.output import as_json, moment, print_table, require_home, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.ledger import PodLedger
    from bizcharts_pipeline.pods.reaper import Listed


@click.group()
def pods() -> None:
    """List and terminate rented pods.

    Only pods that this installation rented are listed or touched, at every provider that it rented from. RunPod's key
    is read from RUNPOD_API_KEY. docs/runpod.md explains costs and troubleshooting.
    """


@pods.command("list")
@as_json
def list_pods(json_output: bool) -> None:
    """List the pods of this installation, and this month's cost.

    If a provider does not respond, its pods are listed from the ledger, and the exit status is 1. "Ordered until" is
    the end of the ordered time. A pod that gets no requests from a run terminates itself sooner, after its lease
    (lease_minutes).
    """
    from bizcharts_pipeline.core.ledgers import is_known
    from bizcharts_pipeline.pods.budget import Spent
    from bizcharts_pipeline.pods.every_provider import Overview, overview
    from bizcharts_pipeline.pods.identity import INSTALLATION
    from bizcharts_pipeline.pods.steady_clock import open_clock

    settings, ledger = _ledger()
    if is_known(ledger.path) or (ledger.path.parent / INSTALLATION).exists():
        now = open_clock(ledger.path.parent)()
        found, spent = overview(settings, ledger, now, _not_here), ledger.spent(f"{now:%Y-%m}")
    else:  # nothing was ever rented, and a command that reads creates no ledger
        now, found, spent = utc_now(), Overview((), ()), Spent(Decimal(), Decimal(), 0)
    listed = found.pods
    month = f"{now:%Y-%m}"
    if json_output:
        click.echo(
            to_json(
                {
                    "pods": listed,
                    "unreachable": found.unreachable,
                    "month": month,
                    "usd": spent.usd,
                    "booked_usd": spent.booked_usd,
                }
            )
        )
    else:
        if listed:
            columns = ["pod", "provider", "GPU", "status", "ledger", "since (UTC)", "ordered until", "USD/h", "note"]
            print_table(columns, [_row(pod) for pod in listed])
        click.echo(
            f"{len(listed) or 'No'} pod{'' if len(listed) == 1 else 's'}. {month}: {spent.usd:.4f} of "
            f"{settings.pods.usd_per_month} USD for {counted(spent.pods, 'pod')}"
            + (f", {spent.booked_usd:.4f} of it booked for pods that have not ended." if spent.booked_usd else ".")
        )
    _fail_with(found.unreachable)


@pods.command()
@as_json
def reap(json_output: bool) -> None:
    """Terminate the pods of this installation without an attached run.

    That includes a pod that a killed run left training: to continue that training, start the job again instead. The
    exit status is 1 if the termination of a pod is not confirmed; then run the command again.
    """
    from bizcharts_pipeline.pods.every_provider import reap_everywhere
    from bizcharts_pipeline.pods.reaper import ReapReport
    from bizcharts_pipeline.pods.steady_clock import open_clock

    settings, ledger = _ledger()
    clock = open_clock(ledger.path.parent)
    report = reap_everywhere(settings, ledger, clock, _not_here) or ReapReport((), (), ())
    if json_output:
        click.echo(to_json(report))
    else:
        for what, those in (("terminated", report.ended), ("left running", report.running)):
            click.echo(f"{what}: {', '.join(those) or 'none'}")
    _fail_with((*report.waiting, *report.failed))


def _fail_with(troubles: Sequence[str]) -> None:
    for trouble in troubles:
        click.echo(trouble, err=True)
    if troubles:
        sys.exit(1)


def _row(pod: "Listed") -> list[str]:
    price = "" if pod.usd_per_hour is None else f"{Decimal(pod.usd_per_hour):.3f}"
    note = pod.orphan or (
        f"this machine's disk failed; kept until {pod.kept_until:%H:%M} UTC: free space and start the job again"
        if pod.kept_until
        else ""
    )
    return [
        *(pod.pod_id or pod.name, pod.provider, pod.gpu or "", str(pod.status), str(pod.state or "unknown")),
        *(moment(pod.created_at), moment(pod.deadline), price, note),
    ]


def _ledger() -> "tuple[Settings, PodLedger]":
    from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
    from bizcharts_pipeline.warehouse.installation import check_home

    settings = load_settings()
    check_home(settings.home_path)
    require_home(settings.home_path, "the rented pods are unknown")
    return settings, PodLedger(settings.home_path / LEDGER)


def _not_here(run_id: str) -> bool:
    """Return False: only Dagster knows its live runs; here, a live run is detected by the lock of its job."""
    return False
