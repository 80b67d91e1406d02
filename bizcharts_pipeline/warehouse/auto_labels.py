"""Table ``auto_labels``: labels by paid models, and the posts that still need one.

A row is the answer of one provider, model, endpoint and prompt version for one post. Its ``status``:

- ``labelled``: ``label`` is the answer.
- ``refused``: the model or its filter declined, with the picture and without; people are to label it. Never neutral.
- ``malformed``: neither of two answers was one of the three classes.
- ``failed``: no request succeeded: nothing of the post may be sent, or the service failed repeatedly.
- ``pending``: no answer yet; ``error`` is the latest problem.

All but ``pending`` are final.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table
from bizcharts_pipeline.warehouse.values import literal, table

ROWS_AT_ONCE = 5_000
FINAL = ("labelled", "refused", "malformed", "failed")

_COLUMNS = {
    "thread_id": "BIGINT",
    "provider": "VARCHAR",
    "model": "VARCHAR",
    "endpoint": "VARCHAR",
    "prompt_version": "VARCHAR",
    "label": "VARCHAR",
    "p_bearish": "DOUBLE",
    "p_neutral": "DOUBLE",
    "p_bullish": "DOUBLE",
    "status": "VARCHAR",
    "usd": "DECIMAL(18, 9)",
    "labeled_at": "TIMESTAMP",
    "request_key": "VARCHAR",
    "model_returned": "VARCHAR",
    "confidence_source": "VARCHAR",
    "image_used": "BOOLEAN",
    "error": "VARCHAR",
}
_KEY = ("thread_id", "provider", "model", "endpoint", "prompt_version")
_MERGE = f"""
MERGE INTO auto_labels AS t
USING {{rows}} AS s
ON {" AND ".join(f"t.{name} IS NOT DISTINCT FROM s.{name}" for name in _KEY)}
WHEN MATCHED THEN UPDATE SET {", ".join(f"{name} = s.{name}" for name in _COLUMNS if name not in _KEY)}
WHEN NOT MATCHED THEN INSERT BY NAME
"""
# Gold first, because it measures the version; then posts labelled by people; then posts with a picture; then others:
# within each group in an order independent of time.
_CANDIDATES = """
WITH gold AS (SELECT thread_id FROM {gold}), labelled AS (SELECT thread_id FROM {labelled}),
posts AS (
    SELECT thread_id, trim(coalesce(subject, '') || coalesce(op_text_clean, '')) <> '' AS has_text FROM thread_ops
    WHERE NOT sticky AND NOT coalesce(observed_sticky, FALSE) AND capcode IS NULL
      AND coalesce(spam_score, 0) < {spam_cut}
    UNION ALL
    SELECT thread_id, bool_or(trim(coalesce(subject_snapshot, '') || coalesce(text_snapshot, '')) <> '')
    FROM training_labels WHERE thread_id NOT IN (SELECT thread_id FROM thread_ops) GROUP BY thread_id
),
pictures AS (SELECT DISTINCT thread_id FROM thumbnails WHERE status = 'stored' AND kind = 'thumbnail'),
final AS (SELECT thread_id FROM auto_labels WHERE status IN {final} AND {version})
SELECT p.thread_id FROM posts AS p
LEFT JOIN gold AS g ON g.thread_id = p.thread_id
LEFT JOIN labelled AS l ON l.thread_id = p.thread_id
LEFT JOIN pictures AS i ON i.thread_id = p.thread_id
WHERE (p.has_text OR i.thread_id IS NOT NULL) AND {wanted}
  AND p.thread_id NOT IN (SELECT thread_id FROM final) AND p.thread_id NOT IN (SELECT thread_id FROM {excluded})
ORDER BY CASE WHEN g.thread_id IS NOT NULL THEN 0 WHEN l.thread_id IS NOT NULL THEN 1
              WHEN i.thread_id IS NOT NULL THEN 2 ELSE 3 END, hash(p.thread_id), p.thread_id
LIMIT {limit}
"""
_ENTROPY = " + ".join(
    f"CASE WHEN p_{name} > 0 THEN p_{name} * ln(p_{name}) ELSE 0 END" for name in ("bearish", "neutral", "bullish")
)
_DOUBTFUL = (
    "(g.thread_id IS NOT NULL OR p.thread_id IN (SELECT thread_id FROM auto_labels WHERE {version} AND "
    f"(status = 'refused' OR status = 'labelled' AND 1 + ({_ENTROPY}) / ln(3) < {{unsure_below}})))"
)


@dataclass(frozen=True)
class LabelVersion:
    """Source of model labels: model, prompt and endpoint. The ledger refuses two texts under one prompt name."""

    provider: str
    model: str
    endpoint: str
    prompt_version: str


@dataclass(frozen=True)
class AutoLabel:
    """One row of ``auto_labels``. ``labeled_at`` is naive UTC: the time of the answer, or of the latest event."""

    thread_id: int
    provider: str
    model: str
    endpoint: str
    prompt_version: str
    label: str | None
    p_bearish: float | None
    p_neutral: float | None
    p_bullish: float | None
    status: str
    usd: Decimal
    labeled_at: datetime
    request_key: str
    model_returned: str | None
    confidence_source: str | None
    image_used: bool
    error: str | None


@dataclass(frozen=True)
class Doubt:
    """Selects posts for a second model: gold, and posts that the first model refused or was unsure of."""

    first: LabelVersion
    unsure_below: float  # confidence: 1 - entropy / ln 3


def candidates(
    connection: duckdb.DuckDBPyConnection,
    version: LabelVersion,
    *,
    gold: Collection[int],
    labelled: Collection[int],
    excluded: Collection[int],
    spam_cut: float,
    limit: int,
    doubt: Doubt | None = None,
) -> list[int]:
    """Read from the database at most ``limit`` threads without a final row of the labelling model ``version``, in the
    order in which to request labels.

    ``gold`` and ``labelled`` come from the label ledger; ``excluded`` threads are never sent. Pinned posts, posts of
    moderators, spam, and posts with neither text nor a stored picture are left out.
    """
    wanted = "TRUE"
    if doubt is not None:
        wanted = _DOUBTFUL.format(version=_is_of(doubt.first), unsure_below=literal(float(doubt.unsure_below)))
    sql = _CANDIDATES.format(
        gold=as_table(gold),
        labelled=as_table(labelled),
        excluded=as_table(excluded),
        spam_cut=literal(float(spam_cut)),
        final=FINAL,
        version=_is_of(version),
        wanted=wanted,
        limit=int(limit),
    )
    return [thread_id for (thread_id,) in connection.execute(sql).fetchall()]


def known_rows(connection: duckdb.DuckDBPyConnection) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Read all rows of models' labels from the database: key columns to request key, status, cost and time."""
    rows = connection.execute(
        f"SELECT {', '.join(_KEY)}, request_key, status, usd, labeled_at FROM auto_labels"
    ).fetchall()
    return {row[: len(_KEY)]: row[len(_KEY) :] for row in rows}


def news_key(row: AutoLabel) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Return key and value of a model's label ``row`` in the form of :func:`known_rows`, the rows in the database."""
    key = (row.thread_id, row.provider, row.model, row.endpoint, row.prompt_version)
    return key, (row.request_key, row.status, row.usd, row.labeled_at)


def merge_auto_labels(connection: duckdb.DuckDBPyConnection, rows: Sequence[AutoLabel]) -> None:
    """Store ``rows`` of models' labels: upsert them by post and version. Call it inside :meth:`Database.write`."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        chunk = [asdict(row) for row in rows[first : first + ROWS_AT_ONCE]]
        connection.execute(_MERGE.format(rows=table(chunk, _COLUMNS)))


def status_counts(connection: duckdb.DuckDBPyConnection, version: LabelVersion) -> dict[str, int]:
    """Read from the database the number of posts by status of the model's label."""
    return _counts(connection, "status", _is_of(version))


def label_counts(connection: duckdb.DuckDBPyConnection, version: LabelVersion) -> dict[str, int]:
    """Read from the database the number of posts that the model labelled, by class."""
    return _counts(connection, "label", f"{_is_of(version)} AND status = 'labelled'")


def models_that_answered(connection: duckdb.DuckDBPyConnection, version: LabelVersion) -> dict[str, int]:
    """Read from the database the number of labels by the model name in the responses."""
    return _counts(connection, "coalesce(model_returned, 'unknown')", f"{_is_of(version)} AND status = 'labelled'")


def statuses_by_version(connection: duckdb.DuckDBPyConnection) -> dict[LabelVersion, Mapping[str, int]]:
    """Read from the database the number of posts by status of their label, for every version of a labelling model."""
    found: dict[LabelVersion, dict[str, int]] = {}
    for *version, status, count in connection.execute(
        "SELECT provider, model, coalesce(endpoint, ''), prompt_version, status, count(*) FROM auto_labels "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        found.setdefault(LabelVersion(*version), {})[status] = count
    return dict(found)


def share_of_final(connection: duckdb.DuckDBPyConnection, version: LabelVersion, status: str) -> float:
    """Read from the database the share of ``status`` among the posts with a final status of the model's label; 0 if
    there are none.
    """
    counts = status_counts(connection, version)
    final = sum(count for name, count in counts.items() if name in FINAL)
    return counts.get(status, 0) / final if final else 0.0


def _counts(connection: duckdb.DuckDBPyConnection, column: str, condition: str) -> dict[str, int]:
    sql = f"SELECT {column} AS what, count(*) FROM auto_labels WHERE {condition} GROUP BY what ORDER BY what"
    return dict(connection.execute(sql).fetchall())


def _is_of(version: LabelVersion) -> str:
    return " AND ".join(f"{name} = {literal(value)}" for name, value in asdict(version).items())
