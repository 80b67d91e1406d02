"""Labels of posts from the ledger: for each post, the one answer that counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.autolabel.keys import Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger, State
from bizcharts_pipeline.autolabel.protocol import Outcome
from bizcharts_pipeline.core.ledgers import marks
from bizcharts_pipeline.core.money import in_usd

USABLE = frozenset({Outcome.OK, Outcome.REFUSED, Outcome.BAD_IMAGE})  # answers that say something of the post
THREADS_AT_ONCE = 1_000  # SQLite allows 32,766 parameters
# The answer that counts: the text-only one if the image prevented an answer.
_ANSWERING = """CASE WHEN q.text_only_key IS NOT NULL AND q.state IN ('refused', 'bad_image')
                                        THEN q.text_only_key ELSE q.key END"""
_RESULTS = f"""
WITH costs AS (
    SELECT r.key, sum(coalesce(s.nano_usd, r.nano_usd)) AS nano
    FROM reservations AS r LEFT JOIN settlements AS s ON s.reservation = r.id GROUP BY r.key
)
SELECT p.thread_id, p.provider, p.model, p.endpoint, p.prompt_version, a.key, coalesce(a.state, 'pending'), a.label,
       a.p_bearish, a.p_neutral, a.p_bullish, a.confidence_source, coalesce(a.image_used, 0), a.model_returned, a.error,
       coalesce(a.updated_at, q.updated_at), p.thread_id = min(p.thread_id) OVER (PARTITION BY p.key),
       coalesce(c.nano, 0) + coalesce(d.nano, 0)
FROM posts AS p
JOIN requests AS q ON q.key = p.key
LEFT JOIN requests AS a ON a.key = {_ANSWERING}
LEFT JOIN costs AS c ON c.key = q.key
LEFT JOIN costs AS d ON d.key = a.key AND d.key <> q.key
ORDER BY p.thread_id, p.provider, p.model, p.endpoint, p.prompt_version
"""


@dataclass(frozen=True)
class Result:
    """A version's result for one post. ``usd`` is its cost; if several posts share a question, the first one carries
    it."""

    thread_id: int
    provider: str
    model: str
    endpoint: str
    prompt_version: str
    request_key: str
    state: State
    label: str | None
    probabilities: tuple[float, float, float] | None
    confidence_source: str | None
    image_used: bool
    model_returned: str | None
    error: str | None
    at: datetime
    usd: Decimal


@dataclass(frozen=True)
class Answered:
    """State of the question that counts for a post, and its answer."""

    state: State
    probabilities: tuple[float, float, float] | None  # bearish, neutral, bullish
    image_used: bool


def results(ledger: AutoLabelLedger) -> list[Result]:
    """Return the labels of every version of paid models for all registered posts."""
    with ledger.reading() as connection:
        return [_result(*row) for row in connection.execute(_RESULTS)]


def states_of_posts(ledger: AutoLabelLedger, version: Version) -> dict[int, State]:
    """Return the states of the posts labelled by a version of a model, by thread; the text-only question's state if
    the image prevented an answer."""
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT p.thread_id, coalesce(a.state, 'pending') FROM posts AS p JOIN requests AS q ON q.key = p.key "
            f"LEFT JOIN requests AS a ON a.key = {_ANSWERING} "
            "WHERE p.provider = ? AND p.model = ? AND p.endpoint = ? AND p.prompt_version = ?",
            (version.provider, version.model, version.endpoint, version.prompt_version),
        )
        return dict(rows.fetchall())


def answers_to(ledger: AutoLabelLedger, version: Version, threads: Sequence[int]) -> dict[int, Answered]:
    """Return a version's answers for posts; a post that was never registered is left out."""
    answers = {}
    with ledger.reading() as connection:
        for start in range(0, len(threads), THREADS_AT_ONCE):
            some = threads[start : start + THREADS_AT_ONCE]
            rows = connection.execute(
                "SELECT p.thread_id, coalesce(a.state, 'pending'), a.p_bearish, a.p_neutral, a.p_bullish, a.image_used "
                f"FROM posts AS p JOIN requests AS q ON q.key = p.key LEFT JOIN requests AS a ON a.key = {_ANSWERING} "
                "WHERE p.provider = ? AND p.model = ? AND p.endpoint = ? AND p.prompt_version = ? "
                f"AND p.thread_id IN ({marks(some)})",
                (version.provider, version.model, version.endpoint, version.prompt_version, *some),
            )
            for thread_id, state, bearish, neutral, bullish, image_used in rows:
                probabilities = None if bearish is None else (bearish, neutral, bullish)
                answers[thread_id] = Answered(state, probabilities, bool(image_used))
    return answers


def has_answers(ledger: AutoLabelLedger, version: Version) -> bool:
    """Return whether this version of a labelling model has ever given an answer."""
    with ledger.reading() as connection:
        row = connection.execute(
            "SELECT 1 FROM requests WHERE provider = ? AND model = ? AND endpoint = ? AND prompt_version = ? "
            "AND state = 'done' LIMIT 1",
            (version.provider, version.model, version.endpoint, version.prompt_version),
        ).fetchone()
        return row is not None


def failed_since(ledger: AutoLabelLedger, version: Version, since: datetime) -> int | None:
    """Return the number of requests to a labelling model that ended after a time (naive UTC); ``None`` if one of them
    was answered with a label."""
    with ledger.reading() as connection:
        count, answered = connection.execute(
            "SELECT count(*), count(CASE WHEN s.outcome = ? THEN 1 END) "
            "FROM settlements AS s JOIN reservations AS r ON r.id = s.reservation "
            "WHERE s.settled_at > ? AND r.provider = ? AND r.model = ? AND r.endpoint = ?",
            (Outcome.OK, since.isoformat(timespec="microseconds"), version.provider, version.model, version.endpoint),
        ).fetchone()
        return None if answered else int(count)


def _result(*row: Any) -> Result:  # in the order of _RESULTS
    thread_id, provider, model, endpoint, prompt_version, key, state, label, *rest = row
    bearish, neutral, bullish, source, image_used, model_returned, error, at, bears_cost, nano = rest
    return Result(
        thread_id,
        provider,
        model,
        endpoint,
        prompt_version,
        key,
        state,
        label,
        None if bearish is None else (bearish, neutral, bullish),
        source,
        bool(image_used),
        model_returned,
        error,
        datetime.fromisoformat(at),
        in_usd(nano if bears_cost else 0),
    )
