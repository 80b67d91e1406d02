"""Delivers recorded events: each destination by a process of its own, so that one that does not answer delays no other.

Exactly one attempt is made for each reservation in the ledger. The process of a destination is started, and has loaded
what it needs, before the first reservation: a kill until then loses nothing.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bizcharts_pipeline.alerts.destinations import Destination
from bizcharts_pipeline.alerts.events import utc
from bizcharts_pipeline.alerts.ledger import AlertLedger, Delivery, State
from bizcharts_pipeline.alerts.sender_process import NoOutcome, NotReady, SenderProcess

ROUND_SECONDS = 300.0  # no further message is begun after this
FIRST_PAUSE = timedelta(minutes=1)
MAX_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt: ``state`` is that of :class:`Delivery`, ``error`` a line without an address."""

    destination: str
    state: State
    error: str


def deliver(
    ledger: AlertLedger, destinations: Sequence[Destination], attempts: int, clock: Callable[[], datetime]
) -> list[Outcome] | None:
    """Send the alerts that are due, and return the outcome of each attempt; ``None`` while another process is sending.

    Args:
        attempts: a delivery that was refused this often is given up.
        clock: the time, naive UTC.

    Raises:
        AlertLedgerError: the ledger cannot be used.
    """
    with ledger.sending() as is_free:
        if not is_free:
            return None
        ledger.recover([one.name for one in destinations], clock())
        until = time.monotonic() + ROUND_SECONDS
        with ThreadPoolExecutor(max_workers=max(len(destinations), 1)) as threads:
            work = [threads.submit(_serve, ledger, one, attempts, clock, until) for one in destinations]
            return [outcome for done in work for outcome in done.result()]


def send_test(destinations: Sequence[Destination], now: datetime) -> list[Outcome]:
    """Send a test message to each destination of alerts at once, without the ledger, and return the outcomes."""
    message = f"Sent at {utc(now)}. Alerts reach this destination."

    def test(destination: Destination) -> Outcome:
        with SenderProcess(destination) as process:
            outcome = _ask(process, "BizCharts: test", message, lambda: None)
        return replace(outcome, state="failed") if outcome.state == "pending" else outcome

    with ThreadPoolExecutor(max_workers=max(len(destinations), 1)) as threads:
        return list(threads.map(test, destinations))


def pause(tried: int) -> timedelta:
    """Return how long to wait after the attempt number ``tried`` to deliver an alert: a minute, then twice as long, at
    most an hour."""
    return min(FIRST_PAUSE * float(2 ** min(tried - 1, 16)), MAX_PAUSE)


def _serve(
    ledger: AlertLedger, destination: Destination, attempts: int, clock: Callable[[], datetime], until: float
) -> list[Outcome]:
    """Send what is due to one destination, up to the first message that it does not take."""
    outcomes: list[Outcome] = []
    if not (due := ledger.due(destination.name, clock())):
        return outcomes
    with SenderProcess(destination) as process:
        for delivery in due:
            if time.monotonic() > until or (outcomes and outcomes[-1].state != "sent"):
                break
            outcomes.append(_attempt(ledger, process, delivery, attempts, clock))
    return outcomes


def _attempt(
    ledger: AlertLedger, process: SenderProcess, delivery: Delivery, attempts: int, clock: Callable[[], datetime]
) -> Outcome:
    outcome = _ask(process, delivery.title, delivery.message, lambda: ledger.reserve(delivery.id, clock()))
    now, tried = clock(), delivery.attempts + 1
    if outcome.state == "pending" and tried >= attempts:
        outcome = replace(outcome, state="failed", error=f"given up after {tried} attempts: {outcome.error}")
    ledger.finish(delivery.id, outcome.state, outcome.error, now + pause(tried), now)
    return outcome


def _ask(process: SenderProcess, title: str, message: str, reserve: Callable[[], None]) -> Outcome:
    """Have one message sent. ``reserve`` is called when the process is ready, just before it gets the message."""
    name = process.destination.name
    try:
        process.start()
    except NotReady as problem:
        return Outcome(name, "pending", str(problem))
    reserve()
    try:
        outcome, detail = process.send(title, message)
    except NoOutcome as problem:
        return Outcome(name, "unknown", f"{problem}: it may have arrived, and is not sent again")
    if outcome == "unclear":
        return Outcome(name, "unknown", f"{detail}: it may have arrived, and is not sent again")
    return Outcome(name, "sent" if outcome == "sent" else "pending", detail)
