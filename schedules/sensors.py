"""What is looked after between the runs."""

import dagster as dg

from resources.run_locks import fail_dead_runs
from resources.warehouse import Warehouse


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Ends runs whose process is gone, as after a power cut; else they would hold their place in the queue for "
        "hours. Dagster then starts them again, three times at most."
    ),
)
def dead_runs(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SkipReason:
    dead = fail_dead_runs(context.instance, warehouse.run_locks_folder())
    return dg.SkipReason(f"ended {', '.join(dead)}" if dead else "every run that is at work is alive")
