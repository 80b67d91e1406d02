"""Sensor that marks dead runs as failed."""

import json

import dagster as dg

from resources.run_locks import fail_dead_runs, fail_lost_runs
from resources.warehouse import Warehouse


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Marks runs as failed if their process or machine has died, as in a power failure; otherwise they would "
        "occupy the queue for hours. Dagster then restarts them, at most three times."
    ),
)
def dead_runs(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SkipReason:
    folder = warehouse.run_locks_folder()
    dead = fail_dead_runs(context.instance, folder)
    lost, sightings = fail_lost_runs(context.instance, folder, json.loads(context.cursor or "{}"))
    context.update_cursor(json.dumps(sightings))
    dead += lost
    return dg.SkipReason(f"marked as failed: {', '.join(dead)}" if dead else "every active run is alive")
