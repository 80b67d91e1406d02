"""Alerts: events that a person should hear of, sent to the destinations of the environment."""

import dagster as dg

from assets.reporting import table
from bizcharts_pipeline.warehouse.previews import Preview
from resources.alerting import Alerting
from resources.warehouse import Warehouse

MAX_SHOWN = 20
COLUMNS = ["at (UTC)", "event", "destination", "state", "reason"]


@dg.asset(
    group_name="operations",
    deps=["fear_greed_index", "coin_sentiment"],
    owners=["team:bizcharts"],
    kinds={"sqlite", "apprise"},
    description=(
        "Searches for events (changes of the index, spikes of coins, stale data, failed runs, pods, budgets), records "
        "each once, and sends what is due to the destinations in BIZCHARTS_ALERT_URLS. docs/alerts.md."
    ),
)
def alerts(context: dg.AssetExecutionContext, warehouse: Warehouse, alerting: Alerting) -> dg.MaterializeResult:
    if not alerting.is_on():
        return dg.MaterializeResult(metadata={"state": "off: no destination, or no kind of event"})
    found = alerting.watch(warehouse.open(), context.instance)
    outcomes = alerting.send()
    for outcome in outcomes or ():
        if outcome.state != "sent":
            context.log.warning(f"alert to {outcome.destination}: {outcome.state}: {outcome.error}")
    ledger = alerting.ledger()
    trouble = [one for one in ledger.deliveries() if one.error and one.state != "sent"][:MAX_SHOWN]
    rows = [(f"{one.changed_at:%Y-%m-%d %H:%M}", one.title, one.destination, one.state, one.error) for one in trouble]
    return dg.MaterializeResult(
        metadata={
            "state": "on" if outcomes is not None else "on; another process is sending",
            "events found": len(found),
            "sent": sum(outcome.state == "sent" for outcome in outcomes or ()),
            **{f"{destination}: {state}": count for (destination, state), count in ledger.counts().items()},
            **({"trouble": table(Preview(COLUMNS, rows))} if rows else {}),
        }
    )
