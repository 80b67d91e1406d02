"""Batches: handed in by one run, collected by a later one, paid once whatever is killed in between."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bizcharts_pipeline.autolabel import cost, ledger_batches
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.gate import Closing
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.autolabel.protocol import BatchProvider, BatchState, Prompt, Question

MAX_BATCH_BYTES = 80_000_000  # of text and pictures; the services take 150 MB and more, with pictures a third larger


@dataclass
class BatchReport:
    """What a run did about batches. ``closing`` says why it handed in no more, if there was more."""

    adopted: int = 0  # handed in by a run that was killed before it knew their id
    collected: int = 0
    answers: int = 0
    left_open: int = 0  # questions that a batch came back without
    submitted: int = 0
    questions: int = 0  # in those
    running: int = 0
    too_big: int | None = None  # as many questions at once were refused in this run
    problems: list[str] = field(default_factory=list)
    closing: Closing | None = None


@dataclass(frozen=True)
class BatchDesk:
    """One provider's batches, in one run; ``clock`` gives the naive UTC time that is written down."""

    provider: BatchProvider
    prompt: Prompt
    ledger: AutoLabelLedger
    run: Run
    terms: Terms
    caps: Caps
    clock: Callable[[], datetime]

    @property
    def version(self) -> Version:
        """What its labels are of."""
        return Version.of(self.provider, self.prompt)

    def collect_batches(self, report: BatchReport) -> None:
        """Find the batches whose run was killed while handing them in, and take in those that have ended."""
        self._resume(report)
        for batch in ledger_batches.batches(self.ledger, self.version, "running"):
            assert batch.batch_id is not None
            state = self.provider.state(batch.batch_id)
            if state is BatchState.ENDED:
                answers, left = ledger_batches.take_in(
                    self.ledger,
                    batch.run_key,
                    self.provider.collect(batch.batch_id),
                    self.terms.price,
                    self.clock(),
                )
                report.collected += 1
                report.answers += answers
                report.left_open += left
            elif state is BatchState.RUNNING:
                report.running += 1
            else:
                oversized = state is BatchState.OVERSIZED
                why = f"batch {batch.batch_id} of {batch.requests} was refused" + (" as too big" if oversized else "")
                ledger_batches.give_up(
                    self.ledger, batch.run_key, "oversized" if oversized else "failed", why, self.clock()
                )
                report.problems.append(why)
                if not oversized:
                    report.closing = Closing("stop", why)

    def submit_batches(self, chunks: Iterable[Sequence[Inquiry]], report: BatchReport) -> None:
        """Hand in what is still open of the inquiries, until money, queue or posts are at an end."""
        if report.closing is not None:
            return
        size = self.terms.batch_requests
        too_big = ledger_batches.smallest_refused_as_too_big(self.ledger, self.version, self.run.now)
        if too_big is not None:
            size = min(size, max(1, too_big // 2))
        for questions in self._gathered(chunks, size):
            if too_big is not None and report.running:
                report.closing = Closing("limit", "the service's queue has no room beside the batches under way")
                return
            self._submit(questions, report)
            if report.closing is not None:
                return

    def _resume(self, report: BatchReport) -> None:
        for batch in ledger_batches.batches(self.ledger, self.version, "intent"):
            if self.ledger.is_alive(batch.run_id):
                continue
            if batch_id := self.provider.find(batch.run_key):
                ledger_batches.mark_running(self.ledger, batch.run_key, batch_id, self.clock())
                report.adopted += 1
            else:
                ledger_batches.give_up(
                    self.ledger, batch.run_key, "abandoned", "its run was killed before it was handed in", self.clock()
                )

    def _gathered(self, chunks: Iterable[Sequence[Inquiry]], size: int) -> Iterator[list[Question]]:
        """Yield the next question of each inquiry, so many at a time as one batch may hold."""
        gathered: list[Question] = []
        seen: set[str] = set()
        weight = 0
        for chunk in chunks:
            for questions in self.ledger.register(self.version, chunk, self.clock()):
                if not questions or questions[0].key in seen:
                    continue
                question = questions[0]
                seen.add(question.key)
                heavy = len(question.text.encode()) + len(question.image or b"")
                if gathered and (len(gathered) == size or weight + heavy > MAX_BATCH_BYTES):
                    yield gathered
                    gathered, weight = [], 0
                gathered.append(question)
                weight += heavy
        if gathered:
            yield gathered

    def _submit(self, questions: Sequence[Question], report: BatchReport) -> None:
        """Hand in one batch; where it is too big, its halves."""
        if report.too_big is not None and len(questions) >= report.too_big:
            self._submit_halves(questions, report)
            return
        factor = self.ledger.overrun(self.version)
        nanos = [round(cost.worst_case(self.prompt, question, self.terms) * factor) for question in questions]
        try:
            run_key, taken = ledger_batches.open_batch(
                self.ledger, self.version, self.run, questions, nanos, self.caps, time.time()
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
        if len(taken) < len(questions):  # the rest is taken by others, or there is no money for it
            self._submit([question for question in questions if question not in taken], report)

    def _refused(self, run_key: str, taken: Sequence[Question], error: BatchError, report: BatchReport) -> None:
        if error.state is BatchState.RUNNING:  # nobody knows: the intent stays, and the next run looks for the batch
            report.closing = Closing("stop", str(error))
            return
        oversized = error.state is BatchState.OVERSIZED
        queue_full = oversized and (len(taken) == 1 or report.running > 0)  # beside others of ours: nothing is too big
        state: ledger_batches.BatchLedgerState = "oversized" if oversized and not queue_full else "failed"
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
