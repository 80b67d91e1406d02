"""Table ``model_versions``: the registered models and the champion, whose scores are published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb

from bizcharts_pipeline.warehouse.model_previews import SWITCHED, ModelPreview, append_preview
from bizcharts_pipeline.warehouse.values import literal, table

LEXICON = "lexicon"
CANDIDATE, CHAMPION, RETIRED = "candidate", "champion", "retired"

_TYPES = {
    "model_version": "VARCHAR",
    "kind": "VARCHAR",
    "base_model": "VARCHAR",
    "dataset_version": "VARCHAR",
    "trained_at": "TIMESTAMP",
    "accuracy": "DOUBLE",
    "macro_f1": "DOUBLE",
    "status": "VARCHAR",
    "path": "VARCHAR",
    "sha256": "VARCHAR",
    "base_revision": "VARCHAR",
    "code_version": "VARCHAR",
    "seed": "BIGINT",
    "settings": "JSON",
    "refit_of": "VARCHAR",
    "seconds": "DOUBLE",
    "usd": "DECIMAL(18, 6)",
    "gpu": "VARCHAR",
    "run_id": "VARCHAR",
}
_NAMES = ", ".join(_TYPES)
_MODELS = f"SELECT {_NAMES} FROM model_versions WHERE {{condition}} ORDER BY trained_at, model_version"
# A data set that became the current one again had no gold in it then, either.
_LEARNED_AT = """
SELECT m.model_version, coalesce(max(d.created_at), max(m.trained_at))
FROM model_versions AS m LEFT JOIN dataset_versions AS d ON d.dataset_version = m.dataset_version
GROUP BY m.model_version
"""
# A model that was promoted and then retired is not evaluated again: a person may have withdrawn it.
_CANDIDATE_AGAIN = f"""
UPDATE model_versions SET status = '{CANDIDATE}' WHERE model_version = {{version}} AND status = '{RETIRED}'
AND NOT EXISTS (FROM model_decisions AS d WHERE d.model_version = {{version}} AND d.promoted)
"""
_RETIRE_SUPERSEDED = f"""
UPDATE model_versions SET status = '{RETIRED}'
WHERE status = '{CANDIDATE}' AND kind = {{kind}} AND path IS NOT NULL AND model_version <> {{version}}
"""


_KEPT = f"""
(status <> '{RETIRED}' OR EXISTS (FROM model_decisions AS d WHERE d.model_version = model_versions.model_version
                                  AND d.promoted))
"""
# The gate's decision on a refit names the version that it was refitted from.
_EVER_NEEDED = f"""
SELECT model_version, refit_of FROM model_versions AS m
WHERE status <> '{RETIRED}' OR usd > 0
OR EXISTS (FROM model_decisions AS d WHERE d.model_version IN (m.model_version, m.refit_of) AND d.promoted)
"""
# A champion was promoted by a decision, unless it is the lexicon that came with the program.
NEVER_CHAMPION = f"""
SELECT model_version FROM model_versions AS m
WHERE status <> '{CHAMPION}' AND path IS NOT NULL
AND NOT EXISTS (FROM model_decisions AS d WHERE d.model_version IN (m.model_version, m.refit_of) AND d.promoted)
"""


@dataclass(frozen=True)
class ModelVersion:
    """A row of ``model_versions``. ``status`` is 'candidate', 'champion' or 'retired'; ``path`` is relative to the
    home, and ``None`` for the program's own lexicon.
    """

    model_version: str
    kind: str
    base_model: str | None
    dataset_version: str | None
    trained_at: datetime | None
    accuracy: float | None  # on gold; for a refit, that of the version it was refitted from
    macro_f1: float | None
    status: str
    path: str | None
    sha256: str | None
    base_revision: str | None = None
    code_version: str | None = None
    seed: int | None = None
    settings: Mapping[str, Any] | None = None
    refit_of: str | None = None
    seconds: float | None = None
    usd: Decimal | None = None
    gpu: str | None = None
    run_id: str | None = None

    @property
    def shipped(self) -> bool:
        """Whether the stored model version is the lexicon shipped with a version of the program."""
        return self.kind == LEXICON and self.path is None


def champion(connection: duckdb.DuckDBPyConnection) -> ModelVersion | None:
    """Read from the database the model version whose scores are published, or ``None`` before the first."""
    found = _select(connection, f"status = '{CHAMPION}'")
    return found[0] if found else None


def model(connection: duckdb.DuckDBPyConnection, model_version: str) -> ModelVersion | None:
    """Read a model version from the database, ``None`` if it is not registered."""
    found = _select(connection, f"model_version = {literal(model_version)}")
    return found[0] if found else None


def models(connection: duckdb.DuckDBPyConnection) -> list[ModelVersion]:
    """Read all model versions from the database, oldest first."""
    return _select(connection, "true")


def evaluated_models(connection: duckdb.DuckDBPyConnection, besides: str) -> list[ModelVersion]:
    """Read from the database the models with metrics on gold whose files are kept, the version ``besides`` excluded,
    best macro-F1 first.
    """
    found = _select(connection, f"macro_f1 IS NOT NULL AND model_version <> {literal(besides)} AND {_KEPT}")
    return sorted(found, key=lambda each: each.macro_f1 or 0.0, reverse=True)


def learned_at(connection: duckdb.DuckDBPyConnection) -> dict[str, datetime | None]:
    """Read from the database, for each model version, the time when its data set was made, or else when it was trained.

    Gold frozen before that time is not in its training data.
    """
    return dict(connection.execute(_LEARNED_AT).fetchall())


def needed_versions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Read from the database the model versions whose files may be needed.

    These are the candidates, all past champions (for a rollback), the versions that those were refitted from (they are
    evaluated for the refit), and every paid training.
    """
    rows = connection.execute(_EVER_NEEDED).fetchall()
    return {version for row in rows for version in row if version is not None}


def register_candidate(connection: duckdb.DuckDBPyConnection, new: ModelVersion) -> ModelVersion:
    """Store a trained model as the only candidate of its kind and return its row. Call it inside
    :meth:`Database.write`.

    An already registered version stays unchanged, including its time of training.
    """
    version = literal(new.model_version)
    if model(connection, new.model_version) is None:
        _insert(connection, new)
    else:
        connection.execute(_CANDIDATE_AGAIN.format(version=version))
    connection.execute(_RETIRE_SUPERSEDED.format(kind=literal(new.kind), version=version))
    stored = model(connection, new.model_version)
    assert stored is not None
    return stored


def promote(connection: duckdb.DuckDBPyConnection, new: ModelVersion) -> None:
    """Store in the database that ``new`` is the champion, registering it if needed; retire the former one and the
    version that ``new`` is a refit of.

    Call it inside :meth:`Database.write`.
    """
    if model(connection, new.model_version) is None:
        _insert(connection, new)
    connection.execute(
        f"UPDATE model_versions SET status = '{RETIRED}' "
        f"WHERE status = '{CHAMPION}' OR model_version = {literal(new.refit_of)}"
    )
    connection.execute(
        f"UPDATE model_versions SET status = '{CHAMPION}', refit_of = coalesce(refit_of, {literal(new.refit_of)}) "
        f"WHERE model_version = {literal(new.model_version)}"
    )


def keep_candidate(connection: duckdb.DuckDBPyConnection, new: ModelVersion) -> None:
    """Store ``new`` as a candidate model that waits for a person, beside the others of its kind.

    Call it inside :meth:`Database.write`.
    """
    if model(connection, new.model_version) is None:
        _insert(connection, new)
    connection.execute(
        f"UPDATE model_versions SET status = '{CANDIDATE}' WHERE model_version = {literal(new.model_version)}"
    )


def ensure_lexicon_champion(
    connection: duckdb.DuckDBPyConnection, model_version: str, sha256: str, now: datetime
) -> ModelVersion:
    """Store this program's lexicon as a model version and return the champion, which is the lexicon until a trained
    model beats it.

    An older lexicon is retired; a champion of another kind stays, and the lexicon becomes a candidate. ``now`` is the
    ``trained_at`` of a new version. Call it inside :meth:`Database.write`.
    """
    present = champion(connection)
    if present and present.model_version == model_version:
        return present
    status = CHAMPION if present is None or present.shipped else CANDIDATE
    if status == CHAMPION:
        connection.execute(f"UPDATE model_versions SET status = '{RETIRED}' WHERE status = '{CHAMPION}'")
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
    if status == CHAMPION and present:
        upgraded = "the program was upgraded, and no longer has the earlier lexicon"
        append_preview(connection, ModelPreview(now, model_version, present.model_version, SWITCHED, upgraded))
    now_champion = champion(connection)
    assert now_champion is not None  # an earlier one, or the lexicon
    return now_champion


def set_figures(
    connection: duckdb.DuckDBPyConnection, model_version: str, accuracy: float | None, macro_f1: float | None
) -> None:
    """Store a model's gold metrics in its row and in those of its refits. Call it inside :meth:`Database.write`."""
    connection.execute(
        f"UPDATE model_versions SET accuracy = {literal(accuracy)}, macro_f1 = {literal(macro_f1)} "
        f"WHERE model_version = {literal(model_version)} OR refit_of = {literal(model_version)}"
    )


def _select(connection: duckdb.DuckDBPyConnection, condition: str) -> list[ModelVersion]:
    rows = connection.execute(_MODELS.format(condition=condition)).fetchall()
    found = [dict(zip(_TYPES, row, strict=True)) for row in rows]
    return [ModelVersion(**row | {"settings": row["settings"] and json.loads(row["settings"])}) for row in found]


def _insert(connection: duckdb.DuckDBPyConnection, new: ModelVersion) -> None:
    row = {field.name: getattr(new, field.name) for field in fields(new)}
    connection.execute(f"INSERT INTO model_versions ({_NAMES}) SELECT {_NAMES} FROM {table([row], _TYPES)}")
