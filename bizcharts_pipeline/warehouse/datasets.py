"""Training data sets: model labels and their trust, data-set versions, and withdrawn pictures."""

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.trust import Version
from bizcharts_pipeline.warehouse.values import literal, table

SHAREGPT = "sharegpt"
NONE = "none"  # in place of a version: there were no examples
MIN_SHARE = 0.1

_MODEL_LABELS = """
SELECT DISTINCT thread_id, provider, model, coalesce(endpoint, ''), prompt_version, label FROM auto_labels
WHERE label IS NOT NULL ORDER BY ALL
"""
_TRUST = """
SELECT provider, model, endpoint, prompt_version, n, accuracy, accuracy_lo, accuracy_hi, macro_f1, kappa, trusted
FROM auto_label_trust
QUALIFY row_number() OVER (PARTITION BY provider, model, endpoint, prompt_version ORDER BY measured_at DESC) = 1
ORDER BY ALL
"""
_COLUMNS = "dataset_version, kind, path, train_rows, validation_rows, classes, created_at"
_WITHDRAWN = """
SELECT sha256 FROM thumbnails WHERE status IN ('blocked', 'purged') AND sha256 IS NOT NULL
AND sha256 NOT IN (SELECT sha256 FROM thumbnails WHERE status = 'stored' AND sha256 IS NOT NULL)
UNION SELECT hash FROM blocked_images WHERE kind = 'sha256'
"""


@dataclass(frozen=True)
class ModelLabel:
    """The label that a version of a labelling model gave to a post."""

    thread_id: int
    version: Version
    label: str


@dataclass(frozen=True)
class MeasuredTrust:
    """Latest measurement of how well a version's labels agree with people's on the gold split."""

    version: Version
    n: int  # gold posts
    accuracy: float | None
    accuracy_lo: float | None  # 95 % interval
    accuracy_hi: float | None
    macro_f1: float | None
    kappa: float | None
    trusted: bool


@dataclass(frozen=True)
class DatasetVersion:
    """A written data set; ``path`` is relative to the home."""

    dataset_version: str  # SHA-256 of the content, 64 hexadecimal digits
    kind: str
    path: str
    train_rows: int
    validation_rows: int
    classes: dict[str, dict[str, int]]  # rows by split and class
    created_at: datetime  # naive UTC; when it was made, or became the current one again


def model_labels(connection: duckdb.DuckDBPyConnection) -> list[ModelLabel]:
    """Read every label of a model from the database, ordered by thread."""
    rows = connection.execute(_MODEL_LABELS).fetchall()
    return [ModelLabel(thread_id, Version(*version), label) for thread_id, *version, label in rows]


def measured_trust(connection: duckdb.DuckDBPyConnection) -> list[MeasuredTrust]:
    """Read from the database the latest measurement of every version of a labelling model."""
    rows = connection.execute(_TRUST).fetchall()
    return [MeasuredTrust(Version(*row[:4]), *row[4:]) for row in rows]


def record_dataset(connection: duckdb.DuckDBPyConnection, version: DatasetVersion) -> None:
    """Store ``version`` in the database as the current data set of its kind. Call it inside :meth:`Database.write`."""
    connection.execute(
        f"DELETE FROM dataset_versions WHERE dataset_version = {literal(version.dataset_version)} "
        f"AND kind = {literal(version.kind)}"
    )
    connection.execute(
        f"INSERT INTO dataset_versions ({_COLUMNS}) VALUES ({literal(version.dataset_version)}, "
        f"{literal(version.kind)}, {literal(version.path)}, {version.train_rows}, {version.validation_rows}, "
        f"{literal(json.dumps(version.classes))}, {literal(version.created_at)})"
    )


def record_nothing(connection: duckdb.DuckDBPyConnection, now: datetime, kind: str = SHAREGPT) -> None:
    """Store in the database that no data set of the kind is current any more. Call it inside :meth:`Database.write`."""
    record_dataset(connection, DatasetVersion(NONE, kind, "", 0, 0, {}, now))


def current_dataset(connection: duckdb.DuckDBPyConnection, kind: str = SHAREGPT) -> DatasetVersion | None:
    """Read the current data set from the database; ``None`` before the first, and if the last run made none."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM dataset_versions WHERE kind = {literal(kind)} "
        "ORDER BY created_at DESC, dataset_version LIMIT 1"
    ).fetchone()
    if row is None or row[0] == NONE:
        return None
    dataset_version, kind, path, train_rows, validation_rows, classes, created_at = row
    return DatasetVersion(dataset_version, kind, path, train_rows, validation_rows, json.loads(classes), created_at)


def rare_classes(version: DatasetVersion) -> list[str]:
    """Return the classes that have less than :data:`MIN_SHARE` of the rows of a stored data set, with their share."""
    rows = version.train_rows + version.validation_rows
    counts = Counter[str]()
    for classes in version.classes.values():
        counts.update(classes)
    return [f"{name}: {count / rows:.1%}" for name, count in counts.items() if count < MIN_SHARE * rows]


def withdrawn_pictures(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Read from the database the SHA-256 of every picture that was blocked, or purged because the board deleted it."""
    return {sha256 for (sha256,) in connection.execute(_WITHDRAWN).fetchall()}


def perceptual_hashes(connection: duckdb.DuckDBPyConnection, sha256s: Collection[str]) -> dict[str, str]:
    """Read from the database the pictures' perceptual hashes by SHA-256, for the contents that have one."""
    wanted = table([{"sha256": sha256} for sha256 in sha256s], {"sha256": "VARCHAR"})
    rows = connection.execute(
        "SELECT DISTINCT sha256, perceptual_hash FROM thumbnails "
        f"WHERE perceptual_hash IS NOT NULL AND sha256 IN (SELECT sha256 FROM {wanted})"
    )
    return dict(rows.fetchall())
