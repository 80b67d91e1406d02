"""Table ``auto_label_trust``: paid models' answers on gold posts, and the versions trusted for training."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table
from bizcharts_pipeline.warehouse.previews import Preview
from bizcharts_pipeline.warehouse.values import literal, table

_ANSWERED = "status <> 'pending'"  # of `auto_labels`: rows with a final status

_ANSWERS = f"""
SELECT provider, model, coalesce(endpoint, ''), prompt_version, a.thread_id, label, p_bearish, p_neutral, p_bullish,
       status = 'refused'
FROM auto_labels AS a JOIN {{threads}} AS w ON a.thread_id = w.thread_id
WHERE {_ANSWERED}
ORDER BY ALL
"""
# Equal posts share one request, which is billed once.
_COSTS = """
SELECT provider, model, coalesce(endpoint, ''), prompt_version, 1000.0 * sum(usd) / nullif(count(label), 0)
FROM (
    SELECT provider, model, endpoint, prompt_version, max(usd) AS usd, any_value(label) AS label
    FROM auto_labels GROUP BY provider, model, endpoint, prompt_version, coalesce(request_key, thread_id::VARCHAR)
) GROUP BY provider, model, endpoint, prompt_version
"""
_NEWEST = """
SELECT * FROM auto_label_trust
QUALIFY row_number() OVER (PARTITION BY provider, model, endpoint, prompt_version ORDER BY measured_at DESC) = 1
"""
_TRUSTED = f"SELECT provider, model, endpoint, prompt_version FROM ({_NEWEST}) WHERE trusted ORDER BY ALL"
_TRUSTED_LABELS = f"""
SELECT a.thread_id, a.label
FROM auto_labels AS a
JOIN ({_TRUSTED}) AS t ON a.provider = t.provider AND a.model = t.model AND coalesce(a.endpoint, '') = t.endpoint
    AND a.prompt_version = t.prompt_version
JOIN {{threads}} AS w ON a.thread_id = w.thread_id
WHERE a.label IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY a.thread_id ORDER BY a.labeled_at DESC, a.provider, a.model, a.endpoint, a.prompt_version) = 1
ORDER BY a.thread_id
"""
_REFUSALS = f"""
WITH read AS (
    SELECT thread_id, CASE greatest(p_bearish, p_neutral, p_bullish)
        WHEN p_neutral THEN 'neutral' WHEN p_bearish THEN 'bearish' ELSE 'bullish' END AS class
    FROM scored_posts WHERE method = 'lexicon' AND thread_id IN (SELECT thread_id FROM auto_labels)
    QUALIFY row_number() OVER (PARTITION BY thread_id ORDER BY scored_at DESC, model_version) = 1
)
SELECT provider, coalesce(class, 'not read') AS lexicon_reads, count(*) AS asked,
       count(*) FILTER (status = 'refused') AS refused,
       round(count(*) FILTER (status = 'refused') / count(*), 4) AS share
FROM auto_labels AS a LEFT JOIN read AS r ON r.thread_id = a.thread_id
WHERE {_ANSWERED}
GROUP BY provider, lexicon_reads ORDER BY provider, lexicon_reads
"""
_TRUST = {
    "provider": "VARCHAR",
    "model": "VARCHAR",
    "endpoint": "VARCHAR",
    "prompt_version": "VARCHAR",
    "n": "INTEGER",
    "accuracy": "DOUBLE",
    "accuracy_lo": "DOUBLE",
    "accuracy_hi": "DOUBLE",
    "macro_f1": "DOUBLE",
    "recall_bearish": "DOUBLE",
    "recall_neutral": "DOUBLE",
    "recall_bullish": "DOUBLE",
    "kappa": "DOUBLE",
    "kappa_lo": "DOUBLE",
    "kappa_hi": "DOUBLE",
    "ece": "DOUBLE",
    "block_rate": "DOUBLE",
    "usd_per_1000": "DOUBLE",
    "trusted": "BOOLEAN",
    "reason": "VARCHAR",
}


@dataclass(frozen=True, order=True)
class Version:
    """One configuration of a labelling model; trust is measured per version."""

    provider: str
    model: str
    endpoint: str
    prompt_version: str

    def __str__(self) -> str:
        return f"{self.provider} {self.model} ({self.endpoint}, {self.prompt_version})"


@dataclass(frozen=True)
class ModelAnswer:
    """A version's answer for a post; ``label`` is ``None`` if it was unusable, or ``refused``."""

    thread_id: int
    label: str | None
    probabilities: tuple[float, float, float] | None  # bearish, neutral, bullish
    refused: bool


@dataclass(frozen=True)
class TrustRow:
    """A row of ``auto_label_trust`` without its time; unavailable metrics are ``None``."""

    provider: str
    model: str
    endpoint: str
    prompt_version: str
    n: int
    accuracy: float | None
    accuracy_lo: float | None
    accuracy_hi: float | None
    macro_f1: float | None
    recall_bearish: float | None
    recall_neutral: float | None
    recall_bullish: float | None
    kappa: float | None
    kappa_lo: float | None
    kappa_hi: float | None
    ece: float | None
    block_rate: float | None
    usd_per_1000: float | None
    trusted: bool
    reason: str | None

    @property
    def version(self) -> Version:
        """The version of a labelling model that the stored row measures."""
        return Version(self.provider, self.model, self.endpoint, self.prompt_version)


def answers(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> dict[Version, list[ModelAnswer]]:
    """Read from the database each labelling model's answers for ``threads``; versions without answers have an empty
    list.
    """
    found: dict[Version, list[ModelAnswer]] = {version: [] for version in costs(connection)}
    for *version, thread_id, label, bearish, neutral, bullish, refused in connection.execute(
        _ANSWERS.format(threads=as_table(threads))
    ).fetchall():
        given = None if None in (bearish, neutral, bullish) else (bearish, neutral, bullish)
        found[Version(*version)].append(ModelAnswer(thread_id, label, given, refused))
    return found


def costs(connection: duckdb.DuckDBPyConnection) -> dict[Version, float | None]:
    """Read from the database what 1,000 labels by each version of a paid model cost, in USD. Paid requests that were
    refused or unusable count too.
    """
    return {Version(*version): cost for *version, cost in connection.execute(_COSTS).fetchall()}


def append_trust(connection: duckdb.DuckDBPyConnection, rows: Sequence[TrustRow], measured_at: datetime) -> None:
    """Add a measurement of each version; earlier ones are kept, and one of the same moment stands for both. Call it
    inside :meth:`Database.write`."""
    if rows:
        values = table([asdict(row) for row in rows], _TRUST)
        connection.execute(
            "INSERT INTO auto_label_trust BY NAME "
            f"SELECT * FROM (SELECT *, {literal(measured_at)} AS measured_at FROM {values}) "
            "ANTI JOIN auto_label_trust USING (provider, model, endpoint, prompt_version, measured_at)"
        )


def trusted_versions(connection: duckdb.DuckDBPyConnection) -> list[Version]:
    """Read from the database the versions of labelling models whose newest measurement passed: only their labels may be
    used for training.
    """
    return [Version(*row) for row in connection.execute(_TRUSTED).fetchall()]


def trusted_labels(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> dict[int, str]:
    """Read from the database the newest label of a trusted model for those of ``threads`` that have one."""
    return dict(connection.execute(_TRUSTED_LABELS.format(threads=as_table(threads))).fetchall())


def refusals(connection: duckdb.DuckDBPyConnection) -> Preview:
    """Read from the database each provider's refusal rate, by the lexicon's class of the post.

    Labels are not missing at random: refused posts use other words, and may so have another stance.
    """
    cursor = connection.execute(_REFUSALS)
    return Preview([column[0] for column in cursor.description or []], cursor.fetchall())
