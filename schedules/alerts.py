"""Sensor that searches for events, and starts a run when an alert is due."""

import dagster as dg

from bizcharts_pipeline.warehouse.errors import DatabaseBusy
from jobs.alerts import ALERTS_MAX_RUNTIME_SECONDS, send_alerts
from resources.alerting import Alerting
from resources.warehouse import Warehouse
from schedules.schedules import unless_at_work

WATCH_SECONDS = 60


@dg.sensor(
    job=send_alerts,
    minimum_interval_seconds=WATCH_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Searches for events every minute and records each once; starts a run only when an alert is due. Does nothing "
        "while BIZCHARTS_ALERT_URLS is not set."
    ),
)
def alerts_watch(
    context: dg.SensorEvaluationContext, warehouse: Warehouse, alerting: Alerting
) -> dg.RunRequest | dg.SkipReason:
    if not alerting.is_on():
        return dg.SkipReason("alerts are off: no destination, or no kind of event")
    nothing = "no alert is due"
    try:
        alerting.watch(warehouse.open(), context.instance)
    except DatabaseBusy as busy:  # searched again in a minute; what is due is sent nevertheless
        nothing = str(busy)
    if not alerting.is_due():
        return dg.SkipReason(nothing)
    return unless_at_work(context, send_alerts.name, ALERTS_MAX_RUNTIME_SECONDS, {})
