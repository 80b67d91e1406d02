"""Batch requests: submitted by one run, collected by a later one, and paid only once even if a run is killed in
between."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bizcharts_pipeline.autolabel import cost, ledger_batches
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps
from bizcharts_pipeline.autolabel.concurrency_limit import Closing
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.autolabel.ledger_batches import Batch
from bizcharts_pipeline.autolabel.protocol import Answer, BatchProvider, BatchState, Prompt, Question
from bizcharts_pipeline.autolabel.treatment import MAX_SUSPECTS
from bizcharts_pipeline.core.attempts import Attempts, SetAside

# The services' batch lists lag behind. A batch that is not listed after this time was never created or cannot be found.
UNSEEN = timedelta(minutes=15)
# A batch ends within a day or two. One that cannot be looked up or read for this long is abandoned.
UNREADABLE = timedelta(days=3)


@dataclass
class BatchReport:
    """Counts of one run's batches. ``closing`` is the reason why submission stopped early, if it did."""

    adopted: int = 0  # submitted by a run that was killed before it stored the batch's id
    collected: int = 0
    answers: int = 0
    left_open: int = 0  # questions without an answer in their batch
    submitted: int = 0
    questions: int = 0  # in the submitted batches
    running: int = 0
    unseen: int = 0  # batches that could not be looked up
    too_big: int | None = None  # the smallest batch size refused as too big in this run
    problems: list[str] = field(default_factory=list)
    closing: Closing | None = None


@dataclass(frozen=True)
class BatchDispatcher:
    """Submits and collects the batches of one provider during one run. ``clock`` returns the naive UTC time stored in
    the ledger."""

    provider: BatchProvider
    prompt: Prompt
    ledger: AutoLabelLedger
    run: Run
    terms: Terms
    caps: Caps
    clock: Callable[[], datetime]
    flagged: Callable[[], Collection[int]]  # the threads that must not be sent, at the time of the call
    attempts: Attempts

    @property
    def version(self) -> Version:
        """The version, model and prompt, under which the batches' labels are stored."""
        return Version.of(self.provider, self.prompt)

    def collect_batches(self, report: BatchReport) -> None:
        """Find batches of labels whose run was killed during submission, and import the answers of batches that have
        ended."""
        seen = 0
        for batch in ledger_batches.batches(self.ledger, self.version, "intent"):
            if not self.ledger.is_alive(batch.run_id):
                seen += self._looked_up(batch, self._resume, report)
        for batch in ledger_batches.batches(self.ledger, self.version, "running"):
            seen += self._looked_up(batch, self._check, report)
        if report.unseen and not seen:
            report.closing = report.closing or Closing("stop", report.problems[-1])

    def submit_batches(self, chunks: Iterable[Sequence[Inquiry]], report: BatchReport, *, again: bool = False) -> None:
        """Submit the open questions of ``chunks`` to the labelling model in batches until the budget, the service's
        queue or the posts are exhausted. With ``again``, do so even if the last batches failed for the same reason."""
        if report.closing is not None:
            return
        reason = ledger_batches.recurring_failure(self.ledger, self.version, self.run.now)
        if reason and not again:
            why = (
                f"the last {ledger_batches.MAX_SAME_FAILURES} batches failed for the same reason; none is submitted "
                "for a day, or until the model, the prompt or `retry_batches` of the run's configuration is changed: "
                f"{reason}"
            )
            report.closing = Closing("stop", why)
            return
        capacity = ledger_batches.queue_capacity(self.ledger, self.version, self.terms.batch_requests, self.run.now)
        for questions in self._gathered(chunks, capacity.size):
            if capacity.refused and report.running:
                report.closing = Closing("limit", "the service's queue is full of this account's running batches")
                return
            self._submit(questions, report)
            if report.closing is not None:
                return

    def _looked_up(self, batch: Batch, look_up: Callable[[Batch, BatchReport], None], report: BatchReport) -> bool:
        """Return whether ``look_up`` could look the batch up. A batch that cannot be looked up does not block the
        others."""
        try:
            look_up(batch, report)
        except SetAside as error:  # its answers stay with the service
            self._record_failed_lookup(batch, error, report)
        except BatchError as error:
            report.unseen += 1
            self._record_failed_lookup(batch, error, report)
            return False
        else:
            ledger_batches.was_readable(self.ledger, batch.run_key)
        return True

    def _record_failed_lookup(self, batch: Batch, error: Exception, report: BatchReport) -> None:
        """Record a failed lookup, and abandon the batch after :data:`UNREADABLE`. The period starts at the first failed
        lookup, however old the batch is: there may have been no lookups for days."""
        report.problems.append(str(error))
        now = self.clock()
        if now - ledger_batches.unreadable_since(self.ledger, batch.run_key, now) > UNREADABLE:
            self._abandon(batch, f"could not be read for {UNREADABLE.days} days", report)

    def _resume(self, batch: Batch, report: BatchReport) -> None:
        """Look for a batch whose creation was not confirmed."""
        if batch_id := self.provider.find(batch.run_key):
            ledger_batches.mark_running(self.ledger, batch.run_key, batch_id, self.clock())
            report.adopted += 1
        elif self.clock() - batch.since > UNSEEN:
            self._abandon(batch, "was not found", report)
        else:
            report.running += 1

    def _check(self, batch: Batch, report: BatchReport) -> None:
        assert batch.batch_id is not None
        try:
            state = self.provider.state(batch.batch_id)
            if state in (BatchState.ENDED, BatchState.EXPIRED):
                with self.attempts.attempt(f"auto-label batch {batch.batch_id}"):
                    self._collect(batch, self._complete_answers(batch, batch.batch_id, state), state, report)
                return
        except BatchError as error:
            # A wrong base URL answers 404 for every batch; only the service's list shows whether the batch exists.
            if error.state is not BatchState.GONE or self.provider.find(batch.run_key):
                raise
            state = BatchState.GONE
        if state is BatchState.RUNNING:
            report.running += 1
        elif state is BatchState.GONE:
            self._abandon(batch, "is unknown to the service", report)
        else:
            self._failed(batch, oversized=state is BatchState.OVERSIZED, report=report)

    def _complete_answers(self, batch: Batch, batch_id: str, state: BatchState) -> Iterator[tuple[str, Answer]]:
        """Yield all answers of a batch. For an expired batch, unprocessed requests do not count as answers.

        Raises:
            BatchError: after the last answer, if the service counts more answers than its results hold. The results
                are then still being written and are read again later.
        """
        asked = ledger_batches.bookings_of(self.ledger, batch.run_key).keys()
        missing = set(asked)
        shown = 0  # a repeated key counts once; each line with an unknown key counts separately
        for key, answer in self.provider.collect(batch_id):
            if state is BatchState.ENDED or answer.served or answer.from_model:
                shown += key in missing or key not in asked
                missing.discard(key)
            yield key, answer
        if shown < batch.requests and shown < (answered := self.provider.answered(batch_id)):
            raise BatchError(
                f"Batch {batch_id}: the service counts {answered:,} answers but returned {shown:,}; retrying later",
                BatchState.RUNNING,
            )

    def _failed(self, batch: Batch, *, oversized: bool, report: BatchReport) -> None:
        """Reopen the questions of a batch that the service accepted and then failed."""
        assert batch.batch_id is not None
        reason = self.provider.reason(batch.batch_id) or "the service gives no reason"
        queue_full = oversized and ledger_batches.other_running(self.ledger, self.version, batch.run_key)
        what = "found the queue full" if queue_full else "was refused as too big" if oversized else "was refused"
        why = f"batch {batch.batch_id} of {batch.requests} {what}: {reason}"
        state: ledger_batches.BatchLedgerState = (
            "abandoned" if queue_full else "oversized" if oversized else "failed"  # 'failed' is counted by reason
        )
        ledger_batches.give_up(self.ledger, batch.run_key, state, why, self.clock())
        report.problems.append(why)
        if not oversized:
            report.closing = Closing("stop", why)
        elif queue_full or batch.requests == 1:
            report.closing = report.closing or Closing("limit", f"the service's queue is full: {reason}")

    def _collect(
        self, batch: Batch, answers: Iterable[tuple[str, Answer]], state: BatchState, report: BatchReport
    ) -> None:
        expired = state is BatchState.EXPIRED
        taken = ledger_batches.store_answers(
            self.ledger,
            self.version,
            batch.run_key,
            answers,
            self.terms,
            self.clock(),
            expired=expired,
        )
        report.collected += 1
        report.answers += taken.answers
        report.left_open += taken.left_open
        if taken.doubt:
            report.closing = Closing("stop", taken.doubt)
        if not taken.wrong:
            return
        detail = next(iter(taken.wrong.values()))
        why = f"{len(taken.wrong)} of {batch.requests} requests were refused as invalid: {detail}"
        report.problems.append(why)
        if taken.answers > 2 * len(taken.wrong):
            self.ledger.fail(taken.wrong)
            return
        report.closing = Closing("bug", why)
        if len(taken.wrong) <= MAX_SUSPECTS:
            self.ledger.count_rounds(taken.wrong)

    def _abandon(self, batch: Batch, why: str, report: BatchReport) -> None:
        why = f"batch {batch.batch_id or batch.run_key} of {batch.requests} {why}; it counts as billed"
        ledger_batches.give_up(self.ledger, batch.run_key, "abandoned", why, self.clock(), billed=True)
        report.problems.append(why)

    def _gathered(self, chunks: Iterable[Sequence[Inquiry]], size: int) -> Iterator[list[Question]]:
        """Yield the next question of each inquiry, in groups of at most ``size`` within the provider's byte limit."""
        gathered: dict[int, Question] = {}  # by thread
        seen: set[str] = set()
        weight = 0
        for chunk in chunks:
            for inquiry, questions in zip(chunk, self.ledger.register(self.version, chunk, self.clock()), strict=True):
                if not questions or questions[0].key in seen:
                    continue
                question = questions[0]
                seen.add(question.key)
                heavy = question.batch_bytes(self.prompt)
                if gathered and (len(gathered) == size or weight + heavy > self.provider.max_batch_bytes):
                    yield self._still_allowed(gathered)
                    gathered, weight = {}, 0
                gathered[inquiry.thread_id] = question
                weight += heavy
        if gathered:
            yield self._still_allowed(gathered)

    def _still_allowed(self, gathered: Mapping[int, Question]) -> list[Question]:
        """Drop posts that were flagged as illegal since they were gathered."""
        flagged = self.flagged()
        return [question for thread_id, question in gathered.items() if thread_id not in flagged]

    def _submit(self, questions: Sequence[Question], report: BatchReport) -> None:
        """Submit one batch, or its two halves if it is too big."""
        if report.too_big is not None and len(questions) >= report.too_big:
            self._submit_halves(questions, report)
            return
        factor = self.ledger.overrun(self.version, self.clock())
        sizes = [cost.size(self.prompt, question, factor) for question in questions]
        try:
            run_key, taken = ledger_batches.open_batch(
                *(self.ledger, self.version, self.run.at(self.clock()), questions, sizes),
                *(self.terms, self.caps, time.time()),
            )
        except BudgetSpent as spent:
            report.closing = Closing("budget", str(spent))
            return
        if not taken:
            return
        try:
            batch_id = self.provider.submit(run_key, self.prompt, taken)
        except BatchError as error:
            self._refused(run_key, taken, error, report)
            return
        ledger_batches.mark_running(self.ledger, run_key, batch_id, self.clock())
        report.submitted += 1
        report.running += 1
        report.questions += len(taken)
        if len(taken) < len(questions):  # the rest was claimed by other runs or exceeds the budget
            self._submit([question for question in questions if question not in taken], report)

    def _refused(self, run_key: str, taken: Sequence[Question], error: BatchError, report: BatchReport) -> None:
        if error.state is BatchState.RUNNING:  # outcome unknown: keep the intent for the next run to look up
            report.closing = Closing("stop", str(error))
            return
        oversized = error.state is BatchState.OVERSIZED
        # With other batches running, the queue is full; the size is not the cause.
        queue_full = oversized and (len(taken) == 1 or report.running > 0)
        # A single request refused as too big means that the queue is full; see `queue_capacity`.
        too_big = oversized and not report.running
        state: ledger_batches.BatchLedgerState = "oversized" if too_big else "failed"
        ledger_batches.give_up(self.ledger, run_key, state, str(error), self.clock())
        if not oversized:
            report.closing = Closing("stop", str(error))
        elif queue_full:
            report.closing = Closing("limit", f"the service's queue is full: {error}")
        else:
            report.too_big = len(taken)
            self._submit_halves(taken, report)

    def _submit_halves(self, questions: Sequence[Question], report: BatchReport) -> None:
        half = (len(questions) + 1) // 2
        for part in (questions[:half], questions[half:]):
            if report.closing is None:
                self._submit(part, report)
