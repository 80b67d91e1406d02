"""Ledger of labels by paid models: questions, answers and costs, written as they occur.

Each commit is durable: a kill at any moment loses no stored answer and no reservation of a sent request. A run claims a
question in the ledger before it sends it; the claim ends with the run's process.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from bizcharts_pipeline.autolabel import budget, repricing
from bizcharts_pipeline.autolabel.budget import Caps, Charge, Spent
from bizcharts_pipeline.autolabel.cost import Size, Terms
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.protocol import Answer, Prompt, Question
from bizcharts_pipeline.core.ledgers import (
    Connection,
    alive,
    connect,
    is_alive,
    of_newer_version,
    place,
    transaction,
    upgrade,
)
from bizcharts_pipeline.core.run_locks import remove_stale

LEDGER = Path("ledgers") / "auto_labels.sqlite"  # below the home
BUSY_SECONDS = 60
MAX_ROUNDS = 3  # a question that was postponed in this many runs has failed
MAX_RAW_CHARACTERS = 65_536
# 1: no sizes of reservations, no answering models. 2: no time since when a batch is unreadable. 3: no totals of days.
SCHEMA_VERSION = 4

State = Literal[
    "pending", "reserved", "submitted", "retry_later", "done", "refused", "malformed", "bad_image", "failed"
]

OPEN: frozenset[State] = frozenset({"pending", "retry_later"})
UNDER_WAY: frozenset[State] = frozenset({"reserved", "submitted"})
PICTURE_IN_THE_WAY: frozenset[State] = frozenset({"refused", "bad_image"})  # the text alone may still be answered

_ADD_REQUEST = """
INSERT INTO requests (key, provider, model, endpoint, prompt_version, prompt_sha256, image_used, state, text_only_key,
                      error, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""
_MAP_POST = """
INSERT INTO posts VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (thread_id, provider, model, endpoint, prompt_version) DO UPDATE SET key = excluded.key
"""
_RECORD = """
UPDATE requests SET
    state = ?, owner = CASE WHEN ? = 1 THEN owner END, label = ?, p_bearish = ?, p_neutral = ?, p_bullish = ?,
    confidence_source = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?, model_returned = ?,
    request_id = ?, raw = ?, error = ?, updated_at = ?
WHERE key = ?
"""


class AutoLabelLedgerError(AutoLabelError):
    """The ledger cannot be used, so no request may be sent."""


class PromptChanged(AutoLabelError):
    """A prompt file was changed after answers were given to it."""


class AutoLabelLedger:
    """The ledger ``path``, created on first use. A context manager; safe for many threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        with self._named_errors():
            self._connection = connect(self.path, BUSY_SECONDS, one_thread=False)
            if not bring_up_to_date(self._connection):
                raise AutoLabelLedgerError(of_newer_version(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield the connection, locked against other threads."""
        with self._lock, self._named_errors():
            if self._connection is None:
                raise AutoLabelLedgerError(f"{place(self.path)}: the ledger is not open")
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield the connection in a write transaction that excludes other threads and processes."""
        with self.reading() as connection, transaction(connection):
            yield connection

    @contextmanager
    def working(self, run: Run) -> Iterator[None]:
        """Mark the run as active; first release the claims of dead runs."""
        with self._named_errors(), alive(self._runs, run.run_id):
            self._release_stale_claims(run)
            yield

    def is_alive(self, run_id: str) -> bool:
        """Return whether the process of a run is alive."""
        with self._named_errors():
            return is_alive(self._runs, run_id)

    def use_prompt(self, prompt: Prompt, now: datetime) -> None:
        """Register ``prompt`` before answers are stored.

        Raises:
            PromptChanged: the ledger has answers to a different text of that name.
        """
        with self.transaction() as connection:
            row = connection.execute("SELECT sha256 FROM prompts WHERE version = ?", (prompt.version,)).fetchone()
            if row and row[0] != prompt.sha256:
                answered = connection.execute(
                    "SELECT count(*) FROM requests WHERE prompt_version = ? AND prompt_sha256 = ? AND attempts > 0",
                    (prompt.version, row[0]),
                ).fetchone()[0]
                if answered:
                    raise PromptChanged(
                        f"The prompt {prompt.version} was changed, but {answered:,} answers are to the earlier text. "
                        "Undo the change, or save it under a new name and set `prompt` of [auto_labels] to that."
                    )
            connection.execute(
                "INSERT INTO prompts VALUES (?, ?, ?, ?) ON CONFLICT (version) DO UPDATE "
                "SET sha256 = excluded.sha256, system = excluded.system, first_used_at = excluded.first_used_at",
                (prompt.version, prompt.sha256, prompt.system, _text(now)),
            )

    def register(self, version: Version, inquiries: Sequence[Inquiry], now: datetime) -> list[tuple[Question, ...]]:
        """Register the questions of posts; return the open ones of each post, in order of preference."""
        with self.transaction() as connection:
            return [_register(connection, version, inquiry, _text(now)) for inquiry in inquiries]

    def claim(
        self,
        key: str,
        version: Version,
        run: Run,
        size: Size,
        terms: Terms,
        caps: Caps,
        sent_at: float,
        *,
        again: bool = False,
    ) -> int | None:
        """Claim a question and reserve its maximum cost; return the reservation's id, or ``None`` if the question is
        answered or claimed by another run. With ``again``, this run already holds the claim and retries.

        Raises:
            BudgetSpent, LimitReached: the cost, or the number of requests, could exceed a limit; nothing was reserved.
        """
        with self.transaction() as connection:
            row = connection.execute("SELECT state, owner FROM requests WHERE key = ?", (key,)).fetchone()
            if not (row[0] in OPEN or (again and tuple(row) == ("reserved", run.run_id))):
                return None
            reservation = repricing.reserve(connection, key, version, run, size, terms, caps, terms.limits, sent_at)
            connection.execute(
                "UPDATE requests SET state = 'reserved', owner = ?, attempts = attempts + 1 WHERE key = ?",
                (run.run_id, key),
            )
            return reservation

    def record(
        self,
        key: str,
        version: Version,
        reservation: int,
        answer: Answer,
        terms: Terms,
        state: State,
        now: datetime,
        seconds: float | None = None,
    ) -> tuple[Charge, int]:
        """Store an answer, its cost and the question's new state, unless they are already stored. Return the cost and
        the amount that was reserved, in nano-USD."""
        with self.transaction() as connection:
            charged = repricing.charge(connection, version, reservation, answer, terms, now)
            booked = budget.booked_nano(connection, reservation)
            if budget.settle(connection, reservation, answer.outcome, charged, now, seconds):
                _record(connection, key, answer, state, now)
            return charged, booked

    def put_back(self, key: str, run: Run) -> None:
        """Release this labelling run's claim on a question."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE requests SET state = 'pending', owner = NULL WHERE key = ? AND owner = ?", (key, run.run_id)
            )

    def count_rounds(self, keys: Collection[str]) -> None:
        """Count a failed round for these questions (postponed or refused as invalid); after :data:`MAX_ROUNDS` they
        have failed."""
        with self.transaction() as connection:
            connection.execute_for_each(
                "UPDATE requests SET rounds = rounds + 1, "
                "state = CASE WHEN rounds + 1 >= ? THEN 'failed' ELSE state END "
                "WHERE key = ? AND state IN ('pending', 'retry_later')",
                [(MAX_ROUNDS, key) for key in keys],
            )

    def fail(self, keys: Collection[str]) -> None:
        """Mark these questions as failed; they are never sent again."""
        with self.transaction() as connection:
            connection.execute_for_each(
                "UPDATE requests SET state = 'failed' WHERE key = ? AND state IN ('pending', 'retry_later')",
                [(key,) for key in keys],
            )

    def latencies(self, run_id: str) -> list[float]:
        """Return the duration of each request of a run in seconds, sorted; batches excluded."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT s.seconds FROM settlements AS s JOIN reservations AS r ON r.id = s.reservation "
                "WHERE r.run_id = ? AND s.seconds IS NOT NULL ORDER BY s.seconds",
                (run_id,),
            )
            return [seconds for (seconds,) in rows]

    def under_way(self, version: Version) -> set[int]:
        """Return the threads with a question in flight or in a batch."""
        with self.reading() as connection:
            mine = "p.provider = :provider AND p.model = :model AND p.endpoint = :endpoint"
            rows = connection.execute(
                "SELECT p.thread_id FROM requests AS r JOIN posts AS p ON p.key = r.key "
                f"WHERE r.owner IS NOT NULL AND {mine} "
                "UNION SELECT p.thread_id FROM requests AS r JOIN requests AS q ON q.text_only_key = r.key "
                "AND q.state IN ('refused', 'bad_image') JOIN posts AS p ON p.key = q.key "
                f"WHERE r.owner IS NOT NULL AND {mine}",
                {"provider": version.provider, "model": version.model, "endpoint": version.endpoint},
            )
            return {row[0] for row in rows}

    def spent(self, *, run_id: str | None = None, month: str | None = None) -> Spent:
        """Return the cost of a labelling run or of a month's labels; without arguments, of everything."""
        with self.reading() as connection:
            return budget.spent(connection, run_id=run_id, month=month)

    def models_seen(self, version: Version, now: datetime) -> frozenset[str]:
        """Return the models that answered for a labelling model: see :func:`repricing.models_seen`."""
        with self.reading() as connection:
            return repricing.models_seen(connection, version, now)

    def overrun(self, version: Version, now: datetime) -> float:
        """Return the ratio of actual to reserved cost of labels: see :func:`budget.overrun`."""
        with self.reading() as connection:
            return budget.overrun(connection, version, now)

    @property
    def _runs(self) -> Path:
        return self.path.with_suffix(".runs")

    def _release_stale_claims(self, run: Run) -> None:
        """Release the claims of runs whose process has died; their reservations count as spent."""
        with self.transaction() as connection:
            owners = connection.execute("SELECT DISTINCT owner FROM requests WHERE state = 'reserved'")
            dead = [owner for (owner,) in owners if owner != run.run_id and not self.is_alive(owner)]
            for owner in dead:
                orphans = connection.execute(
                    "SELECT r.id FROM reservations AS r LEFT JOIN settlements AS s ON s.reservation = r.id "
                    "WHERE r.run_id = ? AND s.reservation IS NULL "
                    "AND r.id NOT IN (SELECT reservation FROM batch_requests) "
                    "AND r.id NOT IN (SELECT surcharge FROM surcharges)",
                    (owner,),
                ).fetchall()
                for (reservation,) in orphans:
                    assumed = Charge("assumed", budget.booked_nano(connection, reservation))
                    budget.settle(connection, reservation, "orphaned", assumed, run.now)
                connection.execute(
                    "UPDATE requests SET state = 'pending', owner = NULL WHERE state = 'reserved' AND owner = ?",
                    (owner,),
                )
        remove_stale(self._runs)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AutoLabelLedgerError(
                f"{place(self.path)}: the ledger of models' answers cannot be used: {error}"
            ) from error


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables, or upgrade them; return whether this program may use the ledger."""
    schema = (files("bizcharts_pipeline.autolabel") / "schema.sql").read_text(encoding="utf-8")
    return upgrade(connection, [schema] * SCHEMA_VERSION)  # the schema creates only missing tables


def record_answer(connection: Connection, key: str, answer: Answer, state: State, now: datetime) -> None:
    """Store the answer to a question, inside the caller's transaction."""
    _record(connection, key, answer, state, now)


def _register(connection: Connection, version: Version, inquiry: Inquiry, at: str) -> tuple[Question, ...]:
    questions = inquiry.questions or (version.question("", None),)
    unaskable = not inquiry.questions
    for position, question in enumerate(questions):
        after = questions[position + 1].key if position + 1 < len(questions) else None
        connection.execute(
            _ADD_REQUEST,
            (
                question.key,
                version.provider,
                version.model,
                version.endpoint,
                version.prompt_version,
                version.prompt_sha256,
                question.image is not None,
                "failed" if unaskable else "pending",
                after,
                "the post has no text or image that may be sent" if unaskable else None,
                at,
            ),
        )
    connection.execute(
        _MAP_POST,
        (
            inquiry.thread_id,
            version.provider,
            version.model,
            version.endpoint,
            version.prompt_version,
            questions[0].key,
        ),
    )
    for position, question in enumerate(questions):
        state = connection.execute("SELECT state FROM requests WHERE key = ?", (question.key,)).fetchone()[0]
        if state in OPEN:
            return questions[position:]
        if state not in PICTURE_IN_THE_WAY:
            return ()
    return ()


def _record(connection: Connection, key: str, answer: Answer, state: State, now: datetime) -> None:
    usage = answer.usage
    done = state == "done"
    connection.execute(
        _RECORD,
        (
            state,
            state in UNDER_WAY,
            answer.label if done else None,
            *((answer.probabilities or (None, None, None)) if done else (None, None, None)),
            answer.confidence_source if done else None,
            usage and usage.input_tokens,
            usage and usage.output_tokens,
            usage and usage.cached_tokens,
            _storable(answer.model_returned),
            _storable(answer.request_id),
            _storable(answer.raw[:MAX_RAW_CHARACTERS]),
            None if done else _storable(f"{answer.outcome}: {answer.detail}"),
            _text(now),
            key,
        ),
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _storable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()
