"""Sensor that looks whether another training is worth it, and asks before it spends."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from bizcharts_pipeline.warehouse.errors import DatabaseBusy
from jobs.training import training as training_job
from resources.training import Training
from resources.warehouse import Warehouse

LOOK_SECONDS = 3600
WEEK = timedelta(days=7)
MAX_TAG = 255  # characters


@dg.sensor(
    job=training_job,
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Looks whether enough labelled posts are new to the newest model, fewer while a drift alarm stands. Starts "
        "`training` only if `retrain_by_itself` of [ml.continual] is set, and not within a week of another run of it. "
        "A training that rents a pod is never started: it is proposed here, as an alert, by `bizcharts labels worth` "
        "and on the page Data."
    ),
)
def retraining(
    context: dg.SensorEvaluationContext, warehouse: Warehouse, training: Training
) -> dg.RunRequest | dg.SkipReason:
    try:
        found = training.retrainings(warehouse.open())
    except DatabaseBusy as busy:
        return dg.SkipReason(str(busy))
    said = " ".join(sentence for each in found for sentence in each.sentences) or "no training is due"
    started = [each for each in found if each.due and not each.rents]
    if not started or not training.settings().ml.continual.retrain_by_itself:
        return dg.SkipReason(said)
    # The record of a run outlives a restart, whoever started it, so that no week has two.
    week = dg.RunsFilter(job_name=training_job.name, created_after=datetime.now(UTC) - WEEK)
    if runs := context.instance.get_run_records(week, limit=1):
        return dg.SkipReason(
            f"run {runs[0].dagster_run.run_id} of `{training_job.name}` is younger than a week. {said}"
        )
    return dg.RunRequest(tags={"retraining": said[:MAX_TAG]})
