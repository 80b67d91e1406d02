"""Batches in the ledger: the intent before submission, the id after it, and the result."""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from bizcharts_pipeline.autolabel import budget, repricing
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, Charge
from bizcharts_pipeline.autolabel.cost import Size, Terms
from bizcharts_pipeline.autolabel.keys import Model, Run, Version
from bizcharts_pipeline.autolabel.ledger import MAX_ROUNDS, OPEN, AutoLabelLedger, record_answer
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Question
from bizcharts_pipeline.autolabel.treatment import treat_in_batch
from bizcharts_pipeline.core.ledgers import Connection

REMEMBERED = timedelta(days=1)  # how long refused and failed batches count
MAX_SAME_FAILURES = 2  # batches that failed for the same reason; another one would fail too
_IDENTIFIERS = re.compile(r"\b(?:batch|file|req|org)[-_/]\w+|\d[\d,.]*")

BatchLedgerState = Literal["intent", "running", "collected", "oversized", "failed", "abandoned"]


@dataclass(frozen=True)
class Batch:
    """A batch. ``run_key`` is unique; the service stores it with the batch, so that the batch can be found again."""

    run_key: str
    run_id: str
    batch_id: str | None
    state: BatchLedgerState
    requests: int
    since: datetime  # naive UTC: time of the last state change


@dataclass
class Collected:
    """Counts of a collected batch."""

    answers: int = 0
    left_open: int = 0  # questions without an answer
    wrong: dict[str, str] = field(default_factory=dict)  # refused as invalid: question key and reason
    doubt: str | None = None  # reason why a reported cost was not believed


def open_batch(
    ledger: AutoLabelLedger,
    version: Version,
    run: Run,
    questions: Sequence[Question],
    sizes: Sequence[Size],
    terms: Terms,
    caps: Caps,
    sent_at: float,
) -> tuple[str, list[Question]]:
    """Record the intent of a batch with as many of ``questions`` as are open and affordable, each with its maximum cost
    reserved. Return the batch's run key and its questions; if there are none, no intent is recorded.

    Raises:
        BudgetSpent: the budget does not cover the first question.
    """
    run_key = secrets.token_hex(16)
    taken: list[Question] = []
    at = run.now.isoformat(timespec="microseconds")
    with ledger.transaction() as connection:
        connection.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, NULL, 'intent', 0, NULL, ?)",
            (run_key, run.run_id, version.provider, version.model, version.endpoint, version.prompt_version, at),
        )
        for question, size in zip(questions, sizes, strict=True):
            state = connection.execute("SELECT state FROM requests WHERE key = ?", (question.key,)).fetchone()[0]
            if state not in OPEN:
                continue
            try:
                reservation = repricing.reserve(
                    connection, question.key, version, run, size, terms, caps, None, sent_at
                )
            except BudgetSpent:
                if not taken:
                    raise
                break
            connection.execute("INSERT INTO batch_requests VALUES (?, ?, ?)", (run_key, question.key, reservation))
            connection.execute(
                "UPDATE requests SET state = 'submitted', owner = ?, attempts = attempts + 1 WHERE key = ?",
                (run_key, question.key),
            )
            taken.append(question)
        if taken:
            connection.execute("UPDATE batches SET requests = ? WHERE run_key = ?", (len(taken), run_key))
        else:
            connection.execute("DELETE FROM batches WHERE run_key = ?", (run_key,))
    return run_key, taken


def mark_running(ledger: AutoLabelLedger, run_key: str, batch_id: str, now: datetime) -> None:
    """Record that the labelling service has the batch, under ``batch_id``."""
    with ledger.transaction() as connection:
        _mark(connection, run_key, "running", None, now)
        connection.execute("UPDATE batches SET batch_id = ? WHERE run_key = ?", (batch_id, run_key))


def unreadable_since(ledger: AutoLabelLedger, run_key: str, now: datetime) -> datetime:
    """Record a failed lookup of a batch of labels at ``now``; return the time of the first one."""
    with ledger.transaction() as connection:
        connection.execute(
            "INSERT INTO unreadable_batches VALUES (?, ?) ON CONFLICT (run_key) DO NOTHING",
            (run_key, now.isoformat(timespec="microseconds")),
        )
        row = connection.execute("SELECT since FROM unreadable_batches WHERE run_key = ?", (run_key,)).fetchone()
        return datetime.fromisoformat(row[0])


def was_readable(ledger: AutoLabelLedger, run_key: str) -> None:
    """Record a successful lookup of a batch of labels."""
    with ledger.transaction() as connection:
        connection.execute("DELETE FROM unreadable_batches WHERE run_key = ?", (run_key,))


def give_up(
    ledger: AutoLabelLedger,
    run_key: str,
    state: BatchLedgerState,
    why: str,
    now: datetime,
    *,
    billed: bool = False,
    counts: bool = True,
) -> None:
    """Close a batch that the service refused or lost, and reopen its questions. With ``billed``, it may have been
    billed; ``counts``: this then counts towards the failure of its questions."""
    with ledger.transaction() as connection:
        _release(connection, run_key, now, None if billed else 0, counts=counts)
        _mark(connection, run_key, state, why, now)


def store_answers(
    ledger: AutoLabelLedger,
    version: Version,
    run_key: str,
    answers: Iterable[tuple[str, Answer]],
    terms: Terms,
    now: datetime,
    *,
    expired: bool,
) -> Collected:
    """Store the labelling model's answers of a batch.

    Each answer is stored as it arrives, and storing it twice changes nothing, so a kill loses nothing. Questions
    without an answer are reopened. They count as billed, unless the batch ``expired`` before it processed them; but for
    each answer with an unknown key (a damaged line), one of them counts as billed.
    """
    taken = Collected()
    bookings = bookings_of(ledger, run_key)
    strays = 0
    for key, answer in answers:
        if key not in bookings:
            strays += 1
            continue
        with ledger.transaction() as connection:
            charged = repricing.charge(connection, version, bookings[key], answer, terms, now)
            if budget.settle(connection, bookings[key], answer.outcome, charged, now):
                state = treat_in_batch(answer, _times(connection, key, answer.outcome))
                record_answer(connection, key, answer, state, now)
                if state == "pending" and charged.basis == "assumed":
                    _count_paid_without_answer(connection, key)
        taken.answers += 1
        taken.doubt = taken.doubt or charged.doubt
        if answer.outcome is Outcome.BUG:
            taken.wrong[key] = answer.detail
    with ledger.transaction() as connection:
        taken.left_open = _release(connection, run_key, now, strays if expired else None)
        _mark(connection, run_key, "collected", None, now)
    return taken


def bookings_of(ledger: AutoLabelLedger, run_key: str) -> dict[str, int]:
    """Return the reservation of each question of a batch, by the question's key."""
    with ledger.reading() as connection:
        return dict(
            connection.execute("SELECT key, reservation FROM batch_requests WHERE run_key = ?", (run_key,)).fetchall()
        )


def batches(ledger: AutoLabelLedger, version: Version, state: BatchLedgerState) -> list[Batch]:
    """Return the batches of a provider, model and endpoint in ``state``, oldest first."""
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT run_key, run_id, batch_id, state, requests, updated_at FROM batches "
            "WHERE provider = ? AND model = ? AND endpoint = ? AND state = ? ORDER BY rowid",
            (version.provider, version.model, version.endpoint, state),
        )
        return [
            Batch(run_key, run_id, batch_id, now, requests, datetime.fromisoformat(at))
            for run_key, run_id, batch_id, now, requests, at in rows
        ]


def any_under_way(ledger: AutoLabelLedger, models: Iterable[Model]) -> bool:
    """Return whether a batch of one of these models is submitted and not collected."""
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT DISTINCT provider, model, endpoint FROM batches WHERE state IN ('intent', 'running')"
        ).fetchall()
    return not {(model.name, model.model, model.endpoint) for model in models}.isdisjoint(rows)


@dataclass(frozen=True)
class QueueCapacity:
    """Estimated capacity of the service's queue: maximum size of the next batch, and whether the last batch was refused
    as too big."""

    size: int
    refused: bool


def queue_capacity(ledger: AutoLabelLedger, version: Version, most: int, now: datetime) -> QueueCapacity:
    """Return the size of the next batch, at most ``most``, from the results of the last day's batches.

    After a refusal as too big, it is half of the refused size; after an accepted batch, twice that batch. If a single
    request was refused, the queue was full, and no size counts as too big.
    """
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT state, requests FROM batches WHERE provider = ? AND model = ? AND endpoint = ? "
            "AND state IN ('oversized', 'running', 'collected') AND updated_at > ? ORDER BY rowid",
            (version.provider, version.model, version.endpoint, (now - REMEMBERED).isoformat()),
        ).fetchall()
    size, refused = most, False
    for state, requests in rows:
        refused = state == "oversized" and requests > 1
        if refused:
            size = min(size, max(1, requests // 2))
        elif state == "oversized":
            size = most
        else:
            size = min(most, max(size, 2 * requests))
    return QueueCapacity(size, refused)


def other_running(ledger: AutoLabelLedger, version: Version, run_key: str) -> bool:
    """Return whether another batch of this model is submitted and not collected."""
    with ledger.reading() as connection:
        row = connection.execute(
            "SELECT 1 FROM batches WHERE provider = ? AND model = ? AND endpoint = ? "
            "AND state IN ('intent', 'running') AND run_key <> ? LIMIT 1",
            (version.provider, version.model, version.endpoint, run_key),
        ).fetchone()
    return row is not None


def recurring_failure(ledger: AutoLabelLedger, version: Version, now: datetime) -> str | None:
    """Return the reason of the last :data:`MAX_SAME_FAILURES` batches if the service accepted and then failed all of
    them in the last day for the same reason (identifiers and numbers ignored)."""
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT state, error FROM batches WHERE provider = ? AND model = ? AND endpoint = ? "
            "AND prompt_version = ? AND batch_id IS NOT NULL AND state <> 'running' AND updated_at > ? "
            "ORDER BY updated_at DESC, rowid DESC LIMIT ?",
            (
                *(version.provider, version.model, version.endpoint, version.prompt_version),
                *((now - REMEMBERED).isoformat(), MAX_SAME_FAILURES),
            ),
        ).fetchall()
    if len(rows) < MAX_SAME_FAILURES or any(state != "failed" for state, _ in rows):
        return None
    alike = {_IDENTIFIERS.sub("#", error or "") for _, error in rows}
    return rows[0][1] if len(alike) == 1 else None


def _times(connection: Connection, key: str, outcome: Outcome) -> int:
    row = connection.execute(
        "SELECT count(*) FROM settlements AS s JOIN reservations AS r ON r.id = s.reservation "
        "WHERE r.key = ? AND s.outcome = ?",
        (key, outcome),
    ).fetchone()
    return int(row[0])


def _release(connection: Connection, run_key: str, now: datetime, billed: int | None, *, counts: bool = True) -> int:
    """Reopen the questions of a batch that have no answer; return their number.

    The ``billed`` most expensive of them count as billed; ``None``: all.
    """
    unanswered = connection.execute(
        "SELECT b.key, b.reservation FROM batch_requests AS b "
        "JOIN reservations AS r ON r.id = b.reservation LEFT JOIN settlements AS s ON s.reservation = b.reservation "
        "WHERE b.run_key = ? AND s.reservation IS NULL ORDER BY r.nano_usd DESC, r.id",
        (run_key,),
    ).fetchall()
    for position, (key, reservation) in enumerate(unanswered):
        paid = billed is None or position < billed
        charged = Charge("assumed", budget.booked_nano(connection, reservation)) if paid else Charge("free", 0)
        budget.settle(connection, reservation, "abandoned", charged, now)
        freed = connection.execute(
            "UPDATE requests SET owner = NULL, state = 'pending' WHERE key = ? AND owner = ?", (key, run_key)
        )
        if paid and counts and freed.rowcount:
            _count_paid_without_answer(connection, key)
    return len(unanswered)


def _count_paid_without_answer(connection: Connection, key: str) -> None:
    """Count a batch that was presumably billed without answering the question; after :data:`MAX_ROUNDS` the question
    has failed."""
    connection.execute(
        "UPDATE requests SET rounds = rounds + 1, state = CASE WHEN rounds + 1 >= ? THEN 'failed' ELSE state END "
        "WHERE key = ?",
        (MAX_ROUNDS, key),
    )


def _mark(connection: Connection, run_key: str, state: BatchLedgerState, why: str | None, now: datetime) -> None:
    connection.execute(
        "UPDATE batches SET state = ?, error = ?, updated_at = ? WHERE run_key = ?",
        (state, why, now.isoformat(timespec="microseconds"), run_key),
    )
