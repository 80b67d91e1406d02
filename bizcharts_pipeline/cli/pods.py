"""Commands ``bizcharts pods …``: list and terminate the pods of this installation without Dagster."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.output import as_json, moment, print_table, to_json
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.ledger import PodLedger
    from bizcharts_pipeline.pods.reaper import Listed


class NoHome(BizchartsError):
    """The home does not exist; an empty one would pretend that no pod is rented."""


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
    from bizcharts_pipeline.pods.every_provider import overview

    settings, ledger, clock = _open()
    now = clock()
    found = overview(settings, ledger, now, _not_here)
    listed = found.pods
    month = f"{now:%Y-%m}"
    spent = ledger.spent(month)
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

    settings, ledger, clock = _open()
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


def _open() -> "tuple[Settings, PodLedger, Callable[[], datetime]]":
    """Return the settings, the pod ledger, and the clock for billing."""
    from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
    from bizcharts_pipeline.pods.steady_clock import open_clock
    from bizcharts_pipeline.warehouse.installation import check_home

    settings = load_settings()
    check_home(settings.home_path)
    if not settings.home_path.is_dir():
        raise NoHome(
            f"{settings.home_path}: there is no such folder, so the rented pods are unknown. Correct BIZCHARTS_HOME."
        )
    path = settings.home_path / LEDGER
    return settings, PodLedger(path), open_clock(path.parent)


def _not_here(run_id: str) -> bool:
    """Return False: only Dagster knows its live runs; here, a live run is detected by the lock of its job."""
    return False
