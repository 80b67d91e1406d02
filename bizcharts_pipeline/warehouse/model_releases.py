"""Gold metrics for the release of a model."""

import duckdb

from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow, evaluation_rows
from bizcharts_pipeline.warehouse.models import ModelVersion
from bizcharts_pipeline.warehouse.values import literal

_NEWEST = "model_version IN ({versions}) ORDER BY evaluated_at DESC LIMIT 1"
_BASELINES = """
gold_version = {gold} AND model_version NOT IN (SELECT model_version FROM model_versions)
ORDER BY accuracy DESC, model_version
"""


def figures_on_gold(connection: duckdb.DuckDBPyConnection, model: ModelVersion) -> tuple[EvaluationRow, ...]:
    """Read from the database a model's newest gold metrics, followed by those of the baselines on the same gold set.

    A refit uses the metrics of the version it was refitted from. Empty if the model was never evaluated.
    """
    versions = ", ".join(literal(name) for name in (model.model_version, model.refit_of) if name)
    own = evaluation_rows(connection, _NEWEST.format(versions=versions))
    baselines = evaluation_rows(connection, _BASELINES.format(gold=literal(own[0].gold_version))) if own else []
    return (*own, *baselines)
