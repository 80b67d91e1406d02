"""Multi-threaded request loop for one provider: claim and reserve, send, record, and handle the outcome."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from bizcharts_pipeline.autolabel import cost
from bizcharts_pipeline.autolabel.budget import BudgetSpent, Caps, LimitReached
from bizcharts_pipeline.autolabel.concurrency_limit import Closing, Gate, Kind
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import PICTURE_IN_THE_WAY, AutoLabelLedger, State
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Prompt, Provider, Question
from bizcharts_pipeline.autolabel.results import failed_since
from bizcharts_pipeline.autolabel.treatment import LONGEST_RETRY_AFTER, MAX_SUSPECTS, Treatment, treat

SILENT_POSTS = 12  # consecutive postponed posts; then the service is assumed to be down
MAX_THROTTLES = 10  # consecutive 429 responses, with growing pauses
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 8.0
READY_AHEAD = 128  # posts with images held in memory while others are being requested
SHOWN_CHARACTERS = 200  # of a response body, in an error
_BUDGET_WAIT_SECONDS = 0.05  # for requests in flight that may cost less than was reserved
_BRAKE_WAIT_SECONDS = 0.25  # for requests in flight that may be answered

_ANSWERED = frozenset({Outcome.OK, Outcome.REFUSED, Outcome.MALFORMED, Outcome.BAD_IMAGE})


@dataclass(frozen=True)
class _Booking:
    """Reservation for one request: its maximum cost times ``overrun``."""

    reservation: int
    overrun: float


@dataclass(frozen=True)
class Brake:
    """Once ``failures`` requests of the last ``pause`` have ended without a usable answer and none with one, no request
    is sent until they are that old: each may be paid for. Until then a run has no more than ``failures`` ended and
    under way."""

    failures: int
    pause: timedelta


class _Braked(Exception):
    """A request has to wait for those under way, or is not sent because of the :class:`Brake`."""


class Dispatcher:
    """Labels posts with one provider during one run. ``clock`` returns the naive UTC time stored in the ledger; without
    ``brake``, only posts in a row without an answer (:data:`SILENT_POSTS`) end the run."""

    def __init__(
        self,
        provider: Provider,
        prompt: Prompt,
        ledger: AutoLabelLedger,
        run: Run,
        terms: Terms,
        caps: Caps,
        *,
        most_at_once: int,
        clock: Callable[[], datetime],
        brake: Brake | None = None,
    ) -> None:
        self.version = Version.of(provider, prompt)
        self._provider, self._prompt, self._ledger, self._run = provider, prompt, ledger, run
        self._terms, self._caps, self._clock, self._brake = terms, caps, clock, brake
        seen = ledger.models_seen(self.version, run.now)
        # Until the first answer names its model, and so its price, only one request at a time is sent.
        self._model_unknown = not seen or any(name and terms.book.of(name) is None for name in seen)
        self.gate = Gate(most_at_once, 1) if self._model_unknown else Gate(most_at_once)
        self._most_at_once = most_at_once
        self._overrun = ledger.overrun(self.version, run.now)
        self._lock = threading.Lock()  # guards the attributes below
        self._in_flight = 0  # requests in flight
        self._answered = 0
        self._last_answer: datetime | None = None  # by the clock
        self._postponed: set[int] = set()  # threads postponed in this round
        self._postponed_in_a_row = 0  # consecutive postponed posts in this round
        self._postponed_keys: set[str] = set()
        self._invalid: set[str] = set()  # keys of requests refused as invalid

    def ask(self, chunks: Iterable[Sequence[Inquiry]]) -> Iterator[int]:
        """Send the open questions of ``chunks`` to the labelling model; yield each thread when it is done, with any
        outcome.

        Ends early when the gate is closed. If the caller stops iterating, requests in flight are completed and
        recorded.
        """
        queued: set[str] = set()
        with ThreadPoolExecutor(self._most_at_once, thread_name_prefix="ask") as pool:
            waiting: set[Future[int]] = set()
            try:
                for chunk in chunks:
                    still_open = self._ledger.register(self.version, chunk, self._clock())
                    for inquiry, questions in zip(chunk, still_open, strict=True):
                        if questions and questions[0].key in queued:  # a duplicate of a queued post
                            questions = ()
                        queued.update(question.key for question in questions[:1])
                        waiting.add(pool.submit(self._label_post, inquiry.thread_id, questions))
                    while len(waiting) > READY_AHEAD:
                        yield from _completed(waiting)
                    if self.gate.closing is not None:
                        break
                while waiting:
                    yield from _completed(waiting)
            except BaseException:
                self.gate.close(Closing("ended", "the run was stopped"))
                raise

    def finish_round(self) -> list[int]:
        """Return the threads whose questions to the labelling model were postponed; they may be sent again."""
        threads = sorted(self._postponed)
        self._postponed, self._postponed_in_a_row = set(), 0
        self.gate.reset_throttles()
        return threads

    @property
    def answered(self) -> bool:
        """Whether the labelling model answered any request of this run."""
        return self._answered > 0

    @property
    def postponed(self) -> bool:
        """Whether any request of this run to the labelling model was postponed."""
        return bool(self._postponed_keys)

    def finish_run(self) -> None:
        """Count this labelling run as a failed round for the questions it postponed, unless the service was down, and
        for the requests refused as invalid. If most requests were answered, the invalid ones fail at once."""
        if self.gate.closing is None or self.gate.closing.kind not in ("silence", "stop"):
            self._ledger.count_rounds(self._postponed_keys)
        if self._answered > len(self._invalid):
            self._ledger.fail(self._invalid)
        elif len(self._invalid) <= MAX_SUSPECTS:
            self._ledger.count_rounds(self._invalid)

    def _label_post(self, thread_id: int, questions: Sequence[Question]) -> int:
        for question in questions:
            state = self._until_final(question)
            if state == "retry_later":
                with self._lock:
                    self._postponed.add(thread_id)
            if state not in PICTURE_IN_THE_WAY:
                break
        return thread_id

    def _until_final(self, question: Question) -> State | None:
        """Send a question until its state is final for this run; ``None`` if it is not claimable or the gate was
        closed."""
        met: Counter[Outcome] = Counter()
        while (ticket := self.gate.enter()) is not None:
            try:
                try:
                    booking = self._claim(question, again=bool(met))
                except (BudgetSpent, LimitReached, _Braked):
                    continue
                if booking is None:
                    return None
                answer, treatment = self._send(question, booking, met)
                self._update_gate(ticket, answer, treatment)
            finally:
                self.gate.leave()
            if treatment.state != "reserved":
                self._count(question.key, answer, treatment.state)
                return treatment.state
            if answer.outcome is Outcome.TRANSIENT:
                self.gate.pause(_back_off(met[Outcome.TRANSIENT]))
        if met:
            self._ledger.put_back(question.key, self._run)
        return None

    def _claim(self, question: Question, *, again: bool) -> _Booking | None:
        """Claim and reserve; on :class:`BudgetSpent`, :class:`LimitReached` or :class:`_Braked`, pause or close the
        gate, then raise."""
        with self._lock:
            self._check_brake()
            try:
                reservation = self._ledger.claim(
                    question.key,
                    self.version,
                    self._run.at(self._clock()),
                    cost.size(self._prompt, question, self._overrun),
                    self._terms,
                    self._caps,
                    time.time(),
                    again=again,
                )
            except (BudgetSpent, LimitReached) as refusal:
                self._wait_or_close(refusal)
                raise
            if reservation is None:
                return None
            self._in_flight += 1
            return _Booking(reservation, self._overrun)

    def _check_brake(self) -> None:
        now, brake = self._clock(), self._brake
        if brake is None or (self._last_answer is not None and self._last_answer > now - brake.pause):
            return
        failed = failed_since(self._ledger, self.version, now - brake.pause)
        if failed is None or failed + self._in_flight < brake.failures:
            return
        if failed >= brake.failures:
            minutes = brake.pause.total_seconds() / 60
            again = f"it is asked again within {minutes:.0f} minutes"
            self.gate.close(Closing("silence", f"none of its last {failed} requests had a usable answer; {again}"))
        else:
            self.gate.hold(_BRAKE_WAIT_SECONDS)
        raise _Braked

    def _wait_or_close(self, refusal: BudgetSpent | LimitReached) -> None:
        if isinstance(refusal, LimitReached):
            if refusal.wait <= LONGEST_RETRY_AFTER:
                self.gate.hold(refusal.wait)
            else:
                self.gate.close(Closing("limit", f"{refusal}; wait {refusal.wait / 3600:.1f} hours"))
        elif self._in_flight:
            self.gate.hold(_BUDGET_WAIT_SECONDS)
        else:
            self.gate.close(Closing("budget", str(refusal)))

    def _send(self, question: Question, booking: _Booking, met: Counter[Outcome]) -> tuple[Answer, Treatment]:
        """Send a request; record its outcome and cost."""
        started = time.monotonic()
        try:
            answer = self._provider.ask(self._prompt, question)
            cost.other_model(answer, self._terms)  # parse it here, where an exception counts as a provider's bug
        except Exception as error:  # violates the protocol; the request may have been sent
            what = f"{type(error).__name__} in the provider {self.version.provider}"
            answer = Answer(Outcome.BUG, detail=what, served=True)
        met[answer.outcome] += 1
        treatment = treat(answer, met)
        charged, booked = self._ledger.record(
            question.key,
            self.version,
            booking.reservation,
            answer,
            self._terms,
            treatment.state,
            self._clock(),
            time.monotonic() - started,
        )
        with self._lock:
            self._in_flight -= 1
            if answer.outcome is Outcome.OK:
                self._last_answer = self._clock()
            if booked and charged.basis == "known":
                self._overrun = max(self._overrun, booking.overrun * charged.nano_usd / booked)
            if charged.doubt:
                self.gate.close(Closing("stop", charged.doubt))
            elif self._model_unknown and answer.from_model:
                self._model_unknown = False
                self.gate.widen()
        return answer, treatment

    def _update_gate(self, ticket: int, answer: Answer, treatment: Treatment) -> None:
        if treatment.stops:
            kind: Kind = "bug" if answer.outcome is Outcome.BUG else "stop"
            pause = f" (requested pause: {answer.retry_after:.0f} s)" if answer.retry_after else ""
            self.gate.close(Closing(kind, f"{answer.outcome}: {answer.detail}{pause}"))
        elif answer.outcome is Outcome.RATE:
            if self.gate.throttled(ticket, answer.retry_after) >= MAX_THROTTLES:
                self.gate.close(
                    Closing("silence", f"{MAX_THROTTLES} requests in a row were answered with 429 (too many requests)")
                )
        elif answer.outcome in _ANSWERED:
            self.gate.succeeded()

    def _count(self, key: str, answer: Answer, state: State) -> None:
        outcome = answer.outcome
        with self._lock:
            if outcome in _ANSWERED:
                self._answered += 1
                self._postponed_in_a_row = 0
            elif outcome is Outcome.BUG:
                self._invalid.add(key)
            elif state == "retry_later":
                self._postponed_keys.add(key)
                self._postponed_in_a_row += 1
            silent = self._postponed_in_a_row >= SILENT_POSTS
        if silent:
            said = f"{SILENT_POSTS} posts in a row without a usable answer, the last: {_described(answer)}"
            self.gate.close(Closing("silence", said))


def _described(answer: Answer) -> str:
    """Return outcome, detail and the beginning of the body, from which the provider has removed API keys."""
    said = f"{answer.outcome}: {answer.detail}" if answer.detail else str(answer.outcome)
    start = " ".join(answer.raw[:SHOWN_CHARACTERS].split())
    return f"{said}; its body begins: {start}" if start and start not in said else said


def _completed(waiting: set[Future[int]]) -> list[int]:
    """Wait for a future, remove all completed ones from ``waiting``, and return their threads."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    waiting -= done
    return [future.result() for future in done]


def _back_off(times: int) -> float:
    return random.uniform(0.5, 1) * min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0 ** (times - 1))
