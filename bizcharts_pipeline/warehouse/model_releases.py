"""What a release says of a model: its newest figures on gold."""

import duckdb

from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow, evaluation_rows
from bizcharts_pipeline.warehouse.models import ModelVersion
from bizcharts_pipeline.warehouse.values import literal

_NEWEST = "model_version IN ({versions}) ORDER BY evaluated_at DESC LIMIT 1"
_BESIDE = """
gold_version = {gold} AND model_version NOT IN (SELECT model_version FROM model_versions)
ORDER BY accuracy DESC, model_version
"""


def figures_on_gold(connection: duckdb.DuckDBPyConnection, model: ModelVersion) -> tuple[EvaluationRow, ...]:
    """Return a model's newest figures, of a refit those of the version it was refitted from, and after them those of
    the baselines on the same gold; nothing if it was never judged."""
    versions = ", ".join(literal(name) for name in (model.model_version, model.refit_of) if name)
    own = evaluation_rows(connection, _NEWEST.format(versions=versions))
    beside = evaluation_rows(connection, _BESIDE.format(gold=literal(own[0].gold_version))) if own else []
    return (*own, *beside)
