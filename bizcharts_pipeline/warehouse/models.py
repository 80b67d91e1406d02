"""Which model version speaks for the project."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.values import literal

LEXICON = "lexicon"


@dataclass(frozen=True)
class ModelVersion:
    """A row of ``model_versions``. ``status`` is 'candidate', 'champion' or 'retired'."""

    model_version: str
    kind: str
    base_model: str | None
    dataset_version: str | None
    trained_at: datetime | None
    accuracy: float | None
    macro_f1: float | None
    status: str
    path: str | None
    sha256: str | None


def champion(connection: duckdb.DuckDBPyConnection) -> ModelVersion | None:
    """Return the model version whose scores are the published ones, or ``None`` before the first."""
    row = connection.execute(
        "SELECT model_version, kind, base_model, dataset_version, trained_at, accuracy, macro_f1, status, "
        "path, sha256 "
        "FROM model_versions WHERE status = 'champion' LIMIT 1"
    ).fetchone()
    return ModelVersion(*row) if row else None


def ensure_lexicon_champion(
    connection: duckdb.DuckDBPyConnection, model_version: str, sha256: str, now: datetime
) -> ModelVersion:
    """Register this program's lexicon and return the champion, which is the lexicon until a trained model
    beat it.

    An older lexicon is retired; a champion of another kind stays, and the lexicon is a candidate then.
    ``now`` is the ``trained_at`` of a version that is new. Call it inside :meth:`Database.write`.
    """
    present = champion(connection)
    if present and present.model_version == model_version:
        return present
    status = "champion" if present is None or present.kind == LEXICON else "candidate"
    if status == "champion":
        connection.execute("UPDATE model_versions SET status = 'retired' WHERE status = 'champion'")
    connection.execute(
        f"""
        MERGE INTO model_versions AS t
        USING (SELECT {literal(model_version)} AS model_version) AS s
        ON t.model_version = s.model_version
        WHEN MATCHED THEN UPDATE SET status = {literal(status)}, sha256 = {literal(sha256)}
        WHEN NOT MATCHED THEN INSERT (model_version, kind, trained_at, status, sha256)
            VALUES (s.model_version, {literal(LEXICON)}, {literal(now)}, {literal(status)}, {literal(sha256)})
        """
    )
    now_champion = champion(connection)
    assert now_champion is not None  # there was one, or the lexicon has become it
    return now_champion
