"""The models: versions, their figures on gold, the decisions of the gate, and whether the champion has gone stale."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.warehouse.drift_reports import DriftRow, newest_report
from bizcharts_pipeline.warehouse.model_evaluations import Decision, EvaluationRow, decisions, evaluations
from bizcharts_pipeline.warehouse.model_previews import ModelPreview, ModelSwitch, model_switches, previews
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, models


@dataclass(frozen=True)
class Models:
    """All of it, the newest first."""

    versions: tuple[ModelVersion, ...]
    evaluations: tuple[EvaluationRow, ...]
    decisions: tuple[Decision, ...]
    drift: tuple[DriftRow, ...]  # the newest report on the champion
    previews: tuple[ModelPreview, ...]
    switches: tuple[ModelSwitch, ...]


@once_per_file
def all_models(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> Models:
    """Return for the app's page Models what had been trained, measured and decided by ``as_of`` (naive UTC)."""

    def known(at: datetime | None) -> bool:
        return as_of is None or at is None or at <= as_of

    present = champion(connection)
    return Models(
        tuple(each for each in reversed(models(connection)) if known(each.trained_at)),
        tuple(each for each in reversed(evaluations(connection)) if known(each.evaluated_at)),
        tuple(each for each in reversed(decisions(connection)) if known(each.decided_at)),
        tuple(newest_report(connection, present.model_version, as_of)) if present else (),
        tuple(reversed(previews(connection, as_of))),
        tuple(reversed(model_switches(connection, as_of))),
    )
