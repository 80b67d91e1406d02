"""Commands ``bizcharts alerts …``: try the destinations, and list what was sent."""

import secrets
import sys
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.output import as_json, moment, print_table, require_home, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.alerts.ledger import AlertLedger


@click.group()
def alerts() -> None:
    """Try the destinations of alerts, and list what was sent.

    Destinations are Apprise URLs in BIZCHARTS_ALERT_URLS, separated by white space. They are shown as their scheme and
    a short hash. docs/alerts.md explains the events.
    """


@alerts.command()
@as_json
def test(json_output: bool) -> None:
    """Send a test message to each destination.

    Exit status 1 if one did not take it, or if none is set.
    """
    from bizcharts_pipeline.alerts.delivery import send_test
    from bizcharts_pipeline.alerts.destinations import VARIABLE, destinations, is_set
    from bizcharts_pipeline.alerts.errors import AlertsError

    ledger = _ledger()
    if not is_set():
        raise AlertsError(f"{VARIABLE} is not set, so nothing can be sent; docs/alerts.md shows how.")
    # A home that is not there may be mistyped: none is created, and the destinations' names are for this once.
    key = ledger.hash_key() if load_settings().home_path.is_dir() else secrets.token_bytes(32)
    outcomes = send_test(destinations(key), utc_now())
    if json_output:
        click.echo(to_json(outcomes))
    else:
        print_table(["destination", "", ""], [[each.destination, each.state, each.error] for each in outcomes])
    if any(each.state != "sent" for each in outcomes):
        sys.exit(1)


@alerts.command("list")
@click.option("--max", "most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Deliveries shown.")
@as_json
def list_alerts(most: int, json_output: bool) -> None:
    """List the newest deliveries with their state.

    pending: due, or tried again later. sent: taken by the service. failed: given up. unknown: the sender ended while
    it was sending, or no answer came; the message may have arrived and is not sent again. sending: being sent now.
    """
    from bizcharts_pipeline.core.ledgers import is_known

    ledger = _ledger()
    require_home(load_settings().home_path, "what was sent is unknown")
    shown = ledger.deliveries(most) if is_known(ledger.path) else []
    if json_output:
        click.echo(to_json(shown))
    elif shown:
        columns = ["event (UTC)", "title", "destination", "state", "tried", "reason"]
        rows = [
            [moment(one.happened_at), one.title, one.destination, one.state, str(one.attempts), one.error]
            for one in shown
        ]
        print_table(columns, rows)
    else:
        click.echo("No alerts yet.")


def _ledger() -> "AlertLedger":
    from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger
    from bizcharts_pipeline.warehouse.installation import check_home

    settings = load_settings()
    check_home(settings.home_path)
    return AlertLedger(settings.home_path / LEDGER)
