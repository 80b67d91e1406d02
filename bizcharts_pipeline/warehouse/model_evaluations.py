"""Scores of models on gold posts, their metrics, and the promotion decisions."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.models import ModelVersion
from bizcharts_pipeline.warehouse.values import literal, table

Probabilities = tuple[float, float, float]  # bearish, neutral, bullish

_SCORES = {"thread_id": "BIGINT", "p_bearish": "DOUBLE", "p_neutral": "DOUBLE", "p_bullish": "DOUBLE"}
_EVALUATIONS = {
    "model_version": "VARCHAR",
    "gold_version": "VARCHAR",
    "n": "INTEGER",
    "accuracy": "DOUBLE",
    "accuracy_lo": "DOUBLE",
    "accuracy_hi": "DOUBLE",
    "macro_f1": "DOUBLE",
    "macro_f1_lo": "DOUBLE",
    "macro_f1_hi": "DOUBLE",
    "recall_bearish": "DOUBLE",
    "recall_neutral": "DOUBLE",
    "recall_bullish": "DOUBLE",
    "ece": "DOUBLE",
    "log_loss": "DOUBLE",
    "confusion": "JSON",
    "evaluated_at": "TIMESTAMP",
    "net_offset": "DOUBLE",
    "net_offset_variance": "DOUBLE",
    "slope": "DOUBLE",
    "slope_lo": "DOUBLE",
    "slope_hi": "DOUBLE",
    "response": "DOUBLE[]",
    "response_covariance": "DOUBLE[]",
    "ece_if_calibrated": "DOUBLE",
}
_DECISIONS = {
    "model_version": "VARCHAR",
    "champion": "VARCHAR",
    "gold_version": "VARCHAR",
    "promoted": "BOOLEAN",
    "decided_by": "VARCHAR",
    "reason": "VARCHAR",
    "decided_at": "TIMESTAMP",
    "mcnemar_p": "DOUBLE",
    "bootstrap_p": "DOUBLE",
    "difference": "DOUBLE",
    "difference_lo": "DOUBLE",
    "difference_hi": "DOUBLE",
}
_NEWEST_DECISION = """
SELECT {names} FROM model_decisions
WHERE model_version = {version} AND champion IS NOT DISTINCT FROM {champion} AND gold_version = {gold}
ORDER BY decided_at DESC LIMIT 1
"""


@dataclass(frozen=True)
class EvaluationRow:
    """A row of ``model_evaluations``."""

    model_version: str  # or the name of a baseline
    gold_version: str
    n: int
    accuracy: float
    accuracy_lo: float  # 95 % intervals
    accuracy_hi: float
    macro_f1: float
    macro_f1_lo: float
    macro_f1_hi: float
    recall_bearish: float | None  # None: no such post in gold
    recall_neutral: float | None
    recall_bullish: float | None
    ece: float
    log_loss: float
    confusion: tuple[tuple[int, ...], ...]  # rows: truth, columns: predicted
    evaluated_at: datetime
    net_offset: float | None = None  # people's net stance minus the model's certainty-weighted one
    net_offset_variance: float | None = None
    slope: float | None = None  # model stance per unit of people's net stance, with its 95 % interval
    slope_lo: float | None = None
    slope_hi: float | None = None
    response: tuple[float, ...] | None = None  # five means over gold, as migration 0007 lists them
    response_covariance: tuple[float, ...] | None = None  # their covariance, row by row
    ece_if_calibrated: float | None = None  # 95th percentile of the ECE of a calibrated model on as many posts


@dataclass(frozen=True)
class Decision:
    """A row of ``model_decisions``."""

    model_version: str
    champion: str | None  # the model that it was compared with
    gold_version: str
    promoted: bool
    decided_by: str  # 'gate', or the person who overrode it
    reason: str
    decided_at: datetime  # naive UTC
    mcnemar_p: float | None = None
    bootstrap_p: float | None = None
    difference: float | None = None  # reduction in log loss, and its 95 % interval
    difference_lo: float | None = None
    difference_hi: float | None = None


def save_gold_scores(
    connection: duckdb.DuckDBPyConnection, model_version: str, scores: Mapping[int, Probabilities], now: datetime
) -> None:
    """Store a model's scores of the given gold posts, replacing earlier ones. Call it inside :meth:`Database.write`."""
    rows = table([dict(zip(_SCORES, (thread, *p), strict=True)) for thread, p in scores.items()], _SCORES)
    version = literal(model_version)
    connection.execute(
        f"DELETE FROM gold_scores WHERE model_version = {version} AND thread_id IN (SELECT thread_id FROM {rows})"
    )
    connection.execute(
        f"INSERT INTO gold_scores BY NAME SELECT *, {version} AS model_version, {literal(now)} AS scored_at FROM {rows}"
    )


def gold_scores(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[int, Probabilities]]:
    """Read from the database the score each model gave to each gold post, by model version and thread."""
    found: defaultdict[str, dict[int, Probabilities]] = defaultdict(dict)
    rows = connection.execute(f"SELECT model_version, {', '.join(_SCORES)} FROM gold_scores ORDER BY ALL").fetchall()
    for model_version, thread_id, *probabilities in rows:
        bearish, neutral, bullish = probabilities
        found[model_version][thread_id] = (bearish, neutral, bullish)
    return dict(found)


def save_evaluations(connection: duckdb.DuckDBPyConnection, rows: Sequence[EvaluationRow]) -> None:
    """Store evaluations of models on gold, replacing those of the same model and gold. Call it inside
    :meth:`Database.write`.
    """
    for row in rows:
        connection.execute(
            f"DELETE FROM model_evaluations WHERE model_version = {literal(row.model_version)} "
            f"AND gold_version = {literal(row.gold_version)}"
        )
    content = table(map(asdict, rows), _EVALUATIONS)
    connection.execute(f"INSERT INTO model_evaluations BY NAME SELECT * FROM {content}")


def evaluations(connection: duckdb.DuckDBPyConnection) -> list[EvaluationRow]:
    """Read from the database the figures of every model and baseline on every gold version, the oldest first."""
    return evaluation_rows(connection, "true ORDER BY evaluated_at, model_version")


def evaluation_rows(connection: duckdb.DuckDBPyConnection, condition: str) -> list[EvaluationRow]:
    """Read from the database the rows of ``model_evaluations`` that meet ``condition``, which may end in an order and a
    limit.
    """
    found = connection.execute(f"SELECT {', '.join(_EVALUATIONS)} FROM model_evaluations WHERE {condition}").fetchall()
    rows = [dict(zip(_EVALUATIONS, values, strict=True)) for values in found]
    return [EvaluationRow(**row | {"confusion": tuple(map(tuple, json.loads(row["confusion"])))}) for row in rows]


def append_decisions(connection: duckdb.DuckDBPyConnection, decisions: Iterable[Decision]) -> None:
    """Store each decision about a model that differs from the newest one on the same two models and gold.

    Call it inside :meth:`Database.write`.
    """
    names = ", ".join(_DECISIONS)
    for decision in decisions:
        newest = connection.execute(
            _NEWEST_DECISION.format(
                names=names,
                version=literal(decision.model_version),
                champion=literal(decision.champion),
                gold=literal(decision.gold_version),
            )
        ).fetchone()
        if newest is None or not _same(Decision(*newest), decision):
            connection.execute(
                f"INSERT INTO model_decisions BY NAME SELECT * FROM {table([asdict(decision)], _DECISIONS)}"
            )


def decisions(connection: duckdb.DuckDBPyConnection) -> list[Decision]:
    """Read every decision about a model's promotion from the database, oldest first."""
    rows = connection.execute(f"SELECT {', '.join(_DECISIONS)} FROM model_decisions ORDER BY decided_at, model_version")
    return [Decision(*row) for row in rows.fetchall()]


def compared_models(connection: duckdb.DuckDBPyConnection, champion_version: str | None, gold_version: str) -> set[str]:
    """Read from the database the models that were already compared with this champion on this gold set, promoted or
    not.
    """
    rows = connection.execute(
        "SELECT DISTINCT model_version FROM model_decisions WHERE bootstrap_p IS NOT NULL "
        f"AND champion IS NOT DISTINCT FROM {literal(champion_version)} AND gold_version = {literal(gold_version)}"
    )
    return {version for (version,) in rows.fetchall()}


def promoted_at(connection: duckdb.DuckDBPyConnection, promoted: ModelVersion) -> datetime | None:
    """Read from the database when a model, or the version that it is a refit of, was last promoted; ``None`` if no
    decision did so.
    """
    versions = ", ".join(literal(name) for name in (promoted.model_version, promoted.refit_of) if name)
    row = connection.execute(
        f"SELECT max(decided_at) FROM model_decisions WHERE promoted AND model_version IN ({versions})"
    ).fetchone()
    return row[0] if row else None


def _same(one: Decision, other: Decision) -> bool:
    return (one.promoted, one.decided_by, one.reason) == (other.promoted, other.decided_by, other.reason)
