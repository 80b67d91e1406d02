"""Table ``learning_curves``: how a text model's metrics grow with the number of labels."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.values import literal, table

_COLUMNS = {
    "dataset_version": "VARCHAR",
    "kind": "VARCHAR",
    "recipe": "VARCHAR",
    "labels": "INTEGER",
    "repeats": "INTEGER",
    "points": "JSON",
    "accuracy_doubled": "DOUBLE",
    "accuracy_sd": "DOUBLE",
    "macro_f1_doubled": "DOUBLE",
    "macro_f1_sd": "DOUBLE",
    "computed_at": "TIMESTAMP",
}
_NAMES = ", ".join(_COLUMNS)


@dataclass(frozen=True)
class CurvePoint:
    """Metrics on held-out posts of models trained on ``labels`` posts."""

    labels: float
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class LearningCurve:
    """A row of ``learning_curves``. Metrics and gains are shares."""

    dataset_version: str
    kind: str  # of the model
    recipe: str  # hash of its code version, settings and base
    labels: int  # posts of the data set
    repeats: int
    points: tuple[CurvePoint, ...]  # by the number of labels
    accuracy_doubled: float  # expected gain by twice the labels
    accuracy_sd: float  # of the gain, by bootstrap
    macro_f1_doubled: float
    macro_f1_sd: float
    computed_at: datetime  # naive UTC


def append_curve(connection: duckdb.DuckDBPyConnection, curve: LearningCurve) -> None:
    """Store a measurement of the learning curve. Call it inside :meth:`Database.write`."""
    rows = table([asdict(curve)], _COLUMNS)
    connection.execute(f"INSERT INTO learning_curves ({_NAMES}) SELECT {_NAMES} FROM {rows}")


def newest_curve(connection: duckdb.DuckDBPyConnection) -> LearningCurve | None:
    """Read the newest learning curve from the database; ``None`` before the first."""
    return _first(connection, "TRUE")


def curve_of(connection: duckdb.DuckDBPyConnection, dataset_version: str, recipe: str) -> LearningCurve | None:
    """Read the newest learning curve of a data set and a recipe from the database; ``None`` if there is none."""
    return _first(connection, f"dataset_version = {literal(dataset_version)} AND recipe = {literal(recipe)}")


def _first(connection: duckdb.DuckDBPyConnection, condition: str) -> LearningCurve | None:
    newest = f"SELECT {_NAMES} FROM learning_curves WHERE {condition} ORDER BY computed_at DESC LIMIT 1"
    row = connection.execute(newest).fetchone()
    if row is None:
        return None
    found = dict(zip(_COLUMNS, row, strict=True))
    points: Sequence[dict[str, float]] = json.loads(found["points"])
    return LearningCurve(**found | {"points": tuple(CurvePoint(**point) for point in points)})
