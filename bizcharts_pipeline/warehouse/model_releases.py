"""Gold metrics for the release of a model."""

import json
from dataclasses import fields

import duckdb

from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow
from bizcharts_pipeline.warehouse.models import ModelVersion
from bizcharts_pipeline.warehouse.values import literal

_COLUMNS = ", ".join(field.name for field in fields(EvaluationRow))
_NEWEST = f"""
SELECT {_COLUMNS} FROM model_evaluations WHERE model_version IN ({{versions}}) ORDER BY evaluated_at DESC LIMIT 1
"""
_BASELINES = f"""
SELECT {_COLUMNS} FROM model_evaluations WHERE gold_version = {{gold}}
AND model_version NOT IN (SELECT model_version FROM model_versions) ORDER BY accuracy DESC, model_version
"""


def figures_on_gold(connection: duckdb.DuckDBPyConnection, model: ModelVersion) -> tuple[EvaluationRow, ...]:
    """Return a model's newest gold metrics, followed by those of the baselines on the same gold set.

    A refit uses the metrics of the version it was refitted from. Empty if the model was never evaluated.
    """
    versions = ", ".join(literal(name) for name in (model.model_version, model.refit_of) if name)
    own = _rows(connection, _NEWEST.format(versions=versions))
    baselines = _rows(connection, _BASELINES.format(gold=literal(own[0].gold_version))) if own else []
    return (*own, *baselines)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[EvaluationRow]:
    rows = []
    for values in connection.execute(query).fetchall():
        row = dict(zip((field.name for field in fields(EvaluationRow)), values, strict=True))
        rows.append(EvaluationRow(**row | {"confusion": tuple(map(tuple, json.loads(row["confusion"])))}))
    return rows
