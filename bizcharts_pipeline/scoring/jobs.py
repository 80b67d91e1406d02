"""Scores posts with a serverless worker: jobs of many posts, each collected and paid at most once.

A job is a batch of the ledger: it is recorded with the most that it can cost before it is sent, with its id as soon as
that is known, and its answers are stored when it has ended, by this run or by a later one.

RunPod bills a worker by the second from its start until it stops. The first job of a worker carries its start and the
idle time after its last one; each job carries its execution and the idle time before it. So the jobs together cost what
the worker does. In the ledger, the "output tokens" of such a job are billed milliseconds.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.autolabel import budget, ledger_batches, repricing
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, Charge
from bizcharts_pipeline.autolabel.concurrency_limit import Closing
from bizcharts_pipeline.autolabel.cost import Size, Terms
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.autolabel.ledger_batches import Batch
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Price, Prompt, Question, Usage
from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure
from bizcharts_pipeline.autolabel.providers.replies import first_token_answer, safe
from bizcharts_pipeline.autolabel.results import USABLE, failed_since
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.ledgers import marks
from bizcharts_pipeline.core.money import in_usd, nano_usd
from bizcharts_pipeline.endpoints.ledger import EndpointRow
from bizcharts_pipeline.endpoints.queue import COMPLETED, MOST_BYTES, Job, Queue
from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    JobFailed,
    OrderRefused,
    OutOfFunds,
    PodError,
    Uncertain,
    Unsent,
)
from bizcharts_pipeline.pods.providers.rest import Busy
from bizcharts_pipeline.scoring.endpoint import NAME_ON_SERVER, chat_body, checked, terms_at

_log = logging.getLogger(__name__)

POSTS = 100  # in a job
WARMING = "warm"  # in place of a question's key, for jobs without posts
POLL_SECONDS = 2.0
FAILURES = 3  # jobs without any answer, after which no more are sent for a while
# After its longest life and the half hour for which RunPod keeps results, a job cannot be collected.
KEPT = timedelta(minutes=30)
FORGOTTEN = timedelta(hours=3)  # longer than any job and its results last
_POSTPONED = frozenset({Outcome.UNUSABLE, Outcome.TRANSIENT})
_ROUNDING_MS = 1_000  # RunPod rounds a worker's time up to a second
_LATE_STOP_MS = 30_000  # a worker that was idle for little longer than allowed may have been billed for all of it
_MILLION = Decimal(1_000_000)

_COST = """
SELECT coalesce(sum(coalesce(s.nano_usd, r.nano_usd)), 0),
       coalesce(sum(coalesce(s.nano_usd, r.nano_usd)) FILTER (WHERE s.basis IS NULL OR s.basis = 'assumed'), 0),
       count(DISTINCT r.key) FILTER (WHERE s.outcome = 'ok')
FROM reservations AS r LEFT JOIN settlements AS s ON s.reservation = r.id
WHERE (r.key = ? OR r.id IN (SELECT reservation FROM batch_requests)) AND r.sent_at >= ?
"""


class Jobs:
    """Sends the questions of one run to one worker.

    Attributes:
        closing: why no more is sent in this run.
        answered: whether the worker has answered any question since the caller's pass began.
    """

    def __init__(
        self,
        ledger: AutoLabelLedger,
        version: Version,
        prompt: Prompt,
        run: Run,
        row: EndpointRow,
        caps: Caps,
        *,
        worked: bool,
        answered: bool = False,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.closing: Closing | None = None
        self.answered = answered
        self._ledger, self._version, self._prompt, self._run = ledger, version, prompt, run
        self._row, self._caps, self._clock, self._sleep = row, caps, clock, sleep
        self._terms = worker_terms(row)
        self._queue = Queue(row.endpoint_id or "")
        self._worked = worked

    def collect(self) -> bool:
        """Store the answers of earlier scoring jobs that have ended; return whether any has not."""
        for batch in ledger_batches.batches(self._ledger, self._version, "intent"):
            if not self._ledger.is_alive(batch.run_id):
                lose(self._ledger, batch.run_key, "its run was stopped before its id was known", self._clock())
        return self._any_left()

    def pause(self, since: datetime) -> Closing | None:
        """Return why no scoring job is sent now, if several ended since a time without any answer: each may be paid
        for."""
        with self._ledger.reading() as connection:
            (ended,) = connection.execute(
                "SELECT count(*) FROM batches WHERE provider = ? AND model = ? AND endpoint = ? "
                "AND state NOT IN ('intent', 'running') AND updated_at > ?",
                (self._version.provider, self._version.model, self._version.endpoint, since.isoformat()),
            ).fetchone()
        if ended < FAILURES or not failed_since(self._ledger, self._version, since):
            return None
        return Closing("silence", f"none of its last {ended} jobs was answered; another is sent some minutes later")

    def send(self, inquiries: Sequence[Inquiry], wait_seconds: float, until: float) -> None:
        """Send open questions to the scoring worker, a job at a time, and wait for each job for ``wait_seconds``; send
        none after ``until``, on the monotonic clock, nor while a job has not ended."""
        for questions in self._chunks(inquiries):
            if time.monotonic() > until:
                self.closing = Closing("ended", "the pass has no time left")
                return
            self._submit(questions)
            waited_for = time.monotonic() + wait_seconds
            while (waits := self._any_left()) and time.monotonic() < waited_for:
                self._sleep(POLL_SECONDS)
            if self.closing is None and waits:
                self.closing = Closing("silence", "a job has not ended yet; its answers are collected later")
            if self.closing is not None:
                return

    def send_all(self, inquiries: Sequence[Inquiry]) -> None:
        """Send all open questions to the scoring worker, and wait until their jobs and earlier ones have ended."""
        for questions in self._chunks(inquiries):
            self._submit(questions)
            if self.closing is not None:
                break
        while self._any_left():
            self._sleep(POLL_SECONDS)

    def warm(self) -> Job:
        """Start the scoring worker with a job without posts, and wait for its end.

        Raises:
            BudgetSpent: it could pass the day's cap.
            PodError: it did not end well.
        """
        with self._ledger.transaction() as connection:
            size = Size(0, False, longest_ms(self._row), 1.0)
            reservation = repricing.reserve(
                connection, WARMING, self._version, self._run, size, self._terms, self._caps, None, time.time()
            )
            booked = budget.booked_nano(connection, reservation)
        charged = Charge("assumed", booked)
        try:
            try:
                sent = self._queue.run(self._body({}))
            except (Unsent, Busy, AccessDenied, OutOfFunds, OrderRefused):
                charged = Charge("free", 0)
                raise
            job = self._ended(sent)
            if job is None or job.state != COMPLETED:
                raise JobFailed(f"The worker did not start: {(job and job.error) or 'no result'}.", "failed")
            if (spent := billed_ms(job, self._row)) is not None:
                usage = Usage(0, spent)
                charged = Charge("known", nano_usd(self._terms.price.cost(usage)), usage)
            return job
        finally:
            with self._ledger.transaction() as connection:
                budget.settle(connection, reservation, "warmed", charged, self._clock())

    def _ended(self, sent: Job) -> Job | None:
        """Wait for a job's end, for as long as it can take; ``None`` if it is not known then."""
        until = time.monotonic() + longest_ms(self._row) / 1000
        job: Job | None = sent
        while job is not None and job.waits and time.monotonic() < until:
            self._sleep(POLL_SECONDS)
            try:
                job = self._queue.status(sent.job_id)
            except (Unsent, Busy, Uncertain) as error:
                _log.info("The job %s cannot be looked up now: %s", sent.job_id, reason_of(error))
        return job if job is None or not job.waits else None

    def _running(self) -> list[Batch]:
        """Return the jobs in the queue that no other run waits for."""
        running = ledger_batches.batches(self._ledger, self._version, "running")
        mine = self._run.run_id
        return [batch for batch in running if batch.run_id == mine or not self._ledger.is_alive(batch.run_id)]

    def _any_left(self) -> bool:
        """Look all jobs up; return whether any has not ended."""
        return sum(not self._has_ended(batch) for batch in self._running()) > 0

    def _chunks(self, inquiries: Sequence[Inquiry]) -> Iterator[list[Question]]:
        """Yield the open questions, each once, in jobs that are not too big."""
        still_open = self._ledger.register(self._version, inquiries, self._clock())
        questions = {each[0].key: each[0] for each in still_open if each}
        chunk: list[Question] = []
        size = 0
        for question in questions.values():
            more = question.batch_bytes(self._prompt)
            if chunk and (len(chunk) == POSTS or size + more > MOST_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(question)
            size += more
        if chunk:
            yield chunk

    def _submit(self, questions: list[Question]) -> None:
        """Record a job, its maximum cost reserved with its first question, and put it into the queue.

        By RunPod's `run`, whose answer has the id at once, and whose results are kept for half an hour; those of
        `runsync` for a minute.
        """
        overrun = self._ledger.overrun(self._version, self._run.now)
        sizes = [Size(0, False, longest_ms(self._row) if n == 0 else 0, overrun) for n in range(len(questions))]
        run = self._run.at(self._clock())
        try:
            run_key, taken = ledger_batches.open_batch(
                self._ledger, self._version, run, questions, sizes, self._terms, self._caps, time.time()
            )
        except BudgetSpent as refusal:
            self.closing = Closing("budget", str(refusal))
            return
        if not taken:
            return
        if taken[0] is not questions[0]:  # another process has sent it meanwhile, so nothing is reserved
            self._give_up(run_key, "another run sends its posts")
            return
        try:
            job = self._queue.run(
                self._body({question.key: chat_body(self._version.model, question) for question in taken})
            )
        except (Unsent, Busy) as error:
            self._give_up(run_key, reason_of(error))
            self.closing = Closing("silence", reason_of(error))
        except Uncertain as error:
            lose(self._ledger, run_key, reason_of(error), self._clock())
            self.closing = Closing("silence", f"{reason_of(error)} The job counts as paid")
        except PodError as error:
            self._give_up(run_key, reason_of(error))
            self.closing = Closing("stop", reason_of(error))
        else:
            batch_id = f"{self._row.endpoint_id}/{job.job_id}"
            ledger_batches.mark_running(self._ledger, run_key, batch_id, self._clock())
            if not job.waits:
                self._end(run_key, job)

    def _body(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        limit = 1000 * self._row.job_seconds
        policy = {"executionTimeout": limit, "ttl": life_ms(self._row)}
        return {"input": {"requests": requests}, "policy": policy}

    def _has_ended(self, batch: Batch) -> bool:
        """Look a job up; store its answers if it has ended. Return whether it no longer waits."""
        endpoint_id, _, job_id = (batch.batch_id or "").partition("/")
        late = self._clock() - batch.since > timedelta(milliseconds=longest_ms(self._row)) + KEPT
        try:
            job = Queue(endpoint_id).status(job_id)
        except PodError as error:
            if not late:
                _log.info("The job %s cannot be looked up now: %s", job_id, reason_of(error))
                return False
            job = None
        if job is not None and job.waits and late:  # its posts are sent again, so it should not answer them too
            with suppress(PodError):
                Queue(endpoint_id).cancel(job_id)
        if job is None or (job.waits and late):
            lose(self._ledger, batch.run_key, "its result is not available any more", self._clock())
            return True
        if job.waits:
            return False
        self._end(batch.run_key, job)
        return True

    def _end(self, run_key: str, job: Job) -> None:
        """Store the answers of a job that has ended."""
        if job.state != COMPLETED:
            why = f"a job has {job.state.lower().replace('_', ' ')}: {job.error or 'without explanation'}"
            executed = bool(job.execution_ms)
            ledger_batches.give_up(self._ledger, run_key, "failed", why, self._clock(), billed=True, counts=executed)
            self.closing = self.closing or Closing("silence", why)
            return
        answers = self._checked(job)
        if not answers:
            why = "a job was completed without answers; is `image` of [endpoint] the one of deploy/serverless?"
            self.closing = Closing("stop", why)
            lose(self._ledger, run_key, why, self._clock())
            return
        taken = ledger_batches.store_answers(
            self._ledger, self._version, run_key, answers, self._terms, self._clock(), expired=False
        )
        postponed = [key for key, answer in answers if answer.outcome in _POSTPONED]
        if any(answer.outcome in USABLE for _, answer in answers):
            self.answered = True
        elif self.closing is None:
            self.closing = Closing("silence", f"a job has no answer to any post: {answers[0][1].detail}")
        # A worker that answers nothing has a fault, which no post is to blame for that was never left out before.
        self._ledger.count_rounds(postponed if self.answered else self._left_out_before(postponed))
        if taken.doubt:
            self.closing = Closing("stop", taken.doubt)

    def _left_out_before(self, keys: Sequence[str]) -> list[str]:
        if not keys:
            return []
        with self._ledger.reading() as connection:
            rows = connection.execute(
                f"SELECT key FROM requests WHERE rounds > 0 AND key IN ({marks(keys)})", tuple(keys)
            )
            return [key for (key,) in rows]

    def _checked(self, job: Job) -> list[tuple[str, Answer]]:
        """Return question key and answer of each post in a completed job; one by a wrong setup closes the run."""
        found = []
        for key, raw in answers_in(job, self._row):
            answer = checked(raw, self._version.model, worked=self._worked)
            self._worked = self._worked or answer.outcome is Outcome.OK
            if answer.outcome is Outcome.STOP:
                self.closing = Closing("stop", f"{answer.outcome}: {answer.detail}")
            found.append((key, answer))
        return found

    def _give_up(self, run_key: str, why: str) -> None:
        """Close a job that was not sent."""
        ledger_batches.give_up(self._ledger, run_key, "failed", why, self._clock())


def lose(ledger: AutoLabelLedger, run_key: str, why: str, now: datetime) -> None:
    """Close a job of the scoring worker whose end is unknown: it counts as paid, and its posts are sent again."""
    ledger_batches.give_up(ledger, run_key, "abandoned", why, now, billed=True, counts=False)


def lose_forgotten(ledger: AutoLabelLedger, version: Version, now: datetime) -> None:
    """Close scoring jobs that no run has collected for hours, as those sent before `endpoint` of [vision] was
    changed."""
    states: tuple[ledger_batches.BatchLedgerState, ...] = ("intent", "running")
    for state in states:
        for batch in ledger_batches.batches(ledger, version, state):
            if now - batch.since > FORGOTTEN:
                lose(ledger, batch.run_key, "no run has collected it", now)


def worker_terms(row: EndpointRow) -> Terms:
    """Return the price of a scoring worker, by the million milliseconds."""
    return terms_at(
        row.model_version, Price(Decimal(0), row.usd_per_hour / 3_600_000 * _MILLION, Decimal(0), Decimal(0))
    )


def life_ms(row: EndpointRow) -> int:
    """Return the time after which RunPod deletes a scoring job, whatever its state, in milliseconds."""
    return 1000 * (row.start_seconds + row.job_seconds)


def longest_ms(row: EndpointRow) -> int:
    """Return an upper bound on what one scoring job can make a worker be billed: its life in the queue and on the
    worker, however often that is replaced, a start or an execution that goes beyond it, and the idle time."""
    beyond = max(row.start_seconds, row.job_seconds) + row.idle_seconds
    return life_ms(row) + 1000 * beyond + _ROUNDING_MS


def billed_ms(job: Job, row: EndpointRow) -> int | None:
    """Return what a completed scoring job adds to the bill of its worker, in milliseconds; ``None`` if its answer does
    not tell.

    The worker reports how long it was idle before the job (``None``: it is its first). After clearly more than the idle
    time it had been stopped and was revived; after little more, both are counted.
    """
    output = job.output if isinstance(job.output, Mapping) else {}
    idle = output.get("idle_ms")
    if job.execution_ms is None or job.delay_ms is None or job.retried or "idle_ms" not in output:
        return None
    if isinstance(idle, int) and not isinstance(idle, bool) and 0 <= idle <= 1000 * row.idle_seconds:
        return job.execution_ms + idle
    if idle is None or isinstance(idle, int):
        beyond = (idle or 0) - 1000 * row.idle_seconds
        counted = beyond if 0 < beyond <= _LATE_STOP_MS else 0
        return job.delay_ms + job.execution_ms + 1000 * row.idle_seconds + counted + _ROUNDING_MS
    return None


def answers_in(job: Job, row: EndpointRow) -> Iterator[tuple[str, Answer]]:
    """Yield question key and answer of each post in a completed scoring job; the first one carries the job's cost."""
    output = job.output if isinstance(job.output, Mapping) else {}
    answers = output.get("answers")
    cost = billed_ms(job, row)
    for number, (key, each) in enumerate(answers.items() if isinstance(answers, Mapping) else ()):
        usage = None if cost is None else Usage(0, cost if number == 0 else 0)
        yield str(key), replace(_answer(each), usage=usage, served=True)


def _answer(each: object) -> Answer:
    fields = each if isinstance(each, Mapping) else {}
    status, body = fields.get("status"), json.dumps(fields.get("body"))
    if status == 200:
        return safe(first_token_answer(body), "")
    if not isinstance(status, int):
        return Answer(Outcome.UNUSABLE, detail="the worker's answer has no status")
    refusal = Refusal(status, {}, body, gateway=True, address="`image` of [endpoint]", model=NAME_ON_SERVER)
    return safe(failure("openai", refusal), "")


@dataclass(frozen=True)
class WorkerCost:
    """What the jobs of a period cost. ``assumed_usd`` is that of jobs with unknown end, and of those not yet ended."""

    usd: Decimal
    assumed_usd: Decimal
    posts: int  # answered

    @property
    def usd_per_thousand(self) -> Decimal | None:
        """The cost of 1,000 posts that the scoring worker answered; ``None`` without any."""
        return 1000 * self.usd / self.posts if self.posts else None


def worker_cost(ledger: AutoLabelLedger, since: datetime) -> WorkerCost:
    """Return the cost of the scoring jobs sent to workers since a time (naive UTC)."""
    with ledger.reading() as connection:
        nano, assumed, posts = connection.execute(_COST, (WARMING, to_epoch(since))).fetchone()
    return WorkerCost(in_usd(nano), in_usd(assumed), posts)
