"""Batches in the ledger: the intent before anything is sent, the id after, and what became of each."""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from bizcharts_pipeline.autolabel import budget
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, Charge, charge
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.ledger import OPEN, AutoLabelLedger, record_answer
from bizcharts_pipeline.autolabel.protocol import Answer, Price, Question
from bizcharts_pipeline.autolabel.treatment import treat_in_batch

REMEMBERED = timedelta(days=1)  # how long the size of a batch that was too big is kept in mind

BatchLedgerState = Literal["intent", "running", "collected", "oversized", "failed", "abandoned"]


@dataclass(frozen=True)
class Batch:
    """A batch. ``run_key`` is fresh for each; the service keeps it with the batch, so that it can be found again."""

    run_key: str
    run_id: str
    batch_id: str | None
    state: BatchLedgerState
    requests: int


def open_batch(
    ledger: AutoLabelLedger,
    version: Version,
    run: Run,
    questions: Sequence[Question],
    nanos: Sequence[int],
    caps: Caps,
    sent_at: float,
) -> tuple[str, list[Question]]:
    """Write the intent of a batch of as many of ``questions`` as are free and as money allows, each booked with the
    most that it may cost; return the batch's run key and its questions. None: there is no intent.

    Raises:
        BudgetSpent: there is no money for the first.
    """
    run_key = secrets.token_hex(16)
    taken: list[Question] = []
    at = run.now.isoformat(timespec="microseconds")
    with ledger.transaction() as connection:
        connection.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, NULL, 'intent', 0, NULL, ?)",
            (run_key, run.run_id, version.provider, version.model, version.endpoint, version.prompt_version, at),
        )
        for question, nano in zip(questions, nanos, strict=True):
            state = connection.execute("SELECT state FROM requests WHERE key = ?", (question.key,)).fetchone()[0]
            if state not in OPEN:
                continue
            try:
                reservation = budget.reserve(connection, question.key, version, run, nano, caps, None, sent_at)
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
    """The service has the batch, under this id."""
    with ledger.transaction() as connection:
        _mark(connection, run_key, "running", None, now)
        connection.execute("UPDATE batches SET batch_id = ? WHERE run_key = ?", (batch_id, run_key))


def give_up(ledger: AutoLabelLedger, run_key: str, state: BatchLedgerState, why: str, now: datetime) -> None:
    """The service does not have the batch, or refused it whole: nothing was billed, and its questions wait again."""
    with ledger.transaction() as connection:
        _release(connection, run_key, now)
        _mark(connection, run_key, state, why, now)


def take_in(
    ledger: AutoLabelLedger, run_key: str, answers: Iterable[tuple[str, Answer]], price: Price, now: datetime
) -> tuple[int, int]:
    """Write down what a batch has answered; return how many answers there were, and how many questions it left open.

    Each is written as it comes, and a repetition changes nothing: a kill in between loses nothing. A question without
    an answer was not billed, and waits again; but for each answer that names no question (a damaged line), one of them
    counts as billed.
    """
    with ledger.reading() as connection:
        bookings = dict(
            connection.execute("SELECT key, reservation FROM batch_requests WHERE run_key = ?", (run_key,)).fetchall()
        )
    answered = strays = 0
    for key, answer in answers:
        if key not in bookings:
            strays += 1
            continue
        with ledger.transaction() as connection:
            reserved = budget.reserved_nano(connection, bookings[key])
            charged = charge(answer, price, reserved)
            if budget.settle(connection, bookings[key], answer.outcome, charged, now):
                (attempts,) = connection.execute("SELECT attempts FROM requests WHERE key = ?", (key,)).fetchone()
                record_answer(connection, key, answer, treat_in_batch(answer, attempts), now)
        answered += 1
    with ledger.transaction() as connection:
        left = _release(connection, run_key, now, strays)
        _mark(connection, run_key, "collected", None, now)
    return answered, left


def batches(ledger: AutoLabelLedger, version: Version, state: BatchLedgerState) -> list[Batch]:
    """Return the batches of a provider, model and endpoint that are in ``state``, oldest first."""
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT run_key, run_id, batch_id, state, requests FROM batches "
            "WHERE provider = ? AND model = ? AND endpoint = ? AND state = ? ORDER BY rowid",
            (version.provider, version.model, version.endpoint, state),
        )
        return [Batch(*row) for row in rows]


def any_under_way(ledger: AutoLabelLedger) -> bool:
    """Whether a batch of whatever model is handed in and not taken in."""
    with ledger.reading() as connection:
        row = connection.execute("SELECT count(*) FROM batches WHERE state IN ('intent', 'running')").fetchone()
        return bool(row[0])


def smallest_refused_as_too_big(ledger: AutoLabelLedger, version: Version, now: datetime) -> int | None:
    """Return the size of the smallest batch of the last day that the service refused as too big."""
    with ledger.reading() as connection:
        row = connection.execute(
            "SELECT min(requests) FROM batches WHERE provider = ? AND model = ? AND endpoint = ? "
            "AND state = 'oversized' AND updated_at > ?",
            (version.provider, version.model, version.endpoint, (now - REMEMBERED).isoformat()),
        ).fetchone()
        return int(row[0]) if row[0] is not None else None


def _release(connection: sqlite3.Connection, run_key: str, now: datetime, billed: int = 0) -> int:
    """Free the questions of a batch that have no answer, the dearest ``billed`` of them as billed; return how many."""
    unanswered = connection.execute(
        "SELECT b.key, b.reservation, r.nano_usd FROM batch_requests AS b "
        "JOIN reservations AS r ON r.id = b.reservation LEFT JOIN settlements AS s ON s.reservation = b.reservation "
        "WHERE b.run_key = ? AND s.reservation IS NULL ORDER BY r.nano_usd DESC, r.id",
        (run_key,),
    ).fetchall()
    for position, (key, reservation, nano) in enumerate(unanswered):
        charged = Charge("assumed", nano) if position < billed else Charge("free", 0)
        budget.settle(connection, reservation, "abandoned", charged, now)
        connection.execute(
            "UPDATE requests SET state = 'pending', owner = NULL WHERE key = ? AND owner = ?", (key, run_key)
        )
    return len(unanswered)


def _mark(
    connection: sqlite3.Connection, run_key: str, state: BatchLedgerState, why: str | None, now: datetime
) -> None:
    connection.execute(
        "UPDATE batches SET state = ?, error = ?, updated_at = ? WHERE run_key = ?",
        (state, why, now.isoformat(timespec="microseconds"), run_key),
    )
