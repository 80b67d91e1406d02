"""Adaptive limit on the concurrent requests to one provider.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms for
congestion avoidance", 1989): one more for each round of successes, half on a 429. No request is sent before the pause
requested by the service has passed. A 429 for a request that was sent before the last cut does not cut again.
"""

import threading
import time
from dataclasses import dataclass
from typing import Literal

START = 8
FIRST_HOLD_SECONDS = 1.0  # if the service names no pause; doubled with each further 429
MIN_HOLD_SECONDS = 0.05  # if the service names a pause of 0; doubled likewise
LONGEST_HOLD_SECONDS = 60.0

Kind = Literal["stop", "budget", "limit", "bug", "silence", "ended"]


@dataclass(frozen=True)
class Closing:
    """Reason why no more requests are sent to a provider in this run."""

    kind: Kind
    why: str


class Gate:
    """Thread-safe semaphore whose size adapts to the provider's 429 responses."""

    def __init__(self, most: int, start: int = START) -> None:
        self._most = most
        self._limit = float(min(start, most))
        self._in_flight = 0
        self._generation = 0  # of the limit; incremented at every cut
        self._held_until = 0.0  # on the monotonic clock
        self._throttles = 0  # consecutive 429 responses
        self._changed = threading.Condition()
        self.closing: Closing | None = None

    @property
    def limit(self) -> int:
        """The current maximum of requests in flight to the provider of labels."""
        return int(self._limit)

    def enter(self) -> int | None:
        """Wait for a slot for a request to the provider of labels; return a ticket for :meth:`throttled`, or ``None``
        if the gate is closed."""
        with self._changed:
            while self.closing is None:
                hold = self._held_until - time.monotonic()
                if hold <= 0 and self._in_flight < self.limit:
                    self._in_flight += 1
                    return self._generation
                self._changed.wait(hold if hold > 0 else None)
            return None

    def leave(self) -> None:
        """Release the slot of a request to the provider of labels."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def succeeded(self) -> None:
        """Record a request that the provider of labels has answered."""
        with self._changed:
            self._throttles = 0
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
            self._changed.notify_all()

    def widen(self) -> None:
        """Raise the limit on concurrent requests to the default start value, if it is lower."""
        with self._changed:
            self._limit = max(self._limit, float(min(START, self._most)))
            self._changed.notify_all()

    def reset_throttles(self) -> None:
        """Reset the count of consecutive 429 responses by the provider of labels."""
        with self._changed:
            self._throttles = 0

    def throttled(self, ticket: int, retry_after: float | None) -> int:
        """Record a 429 for the request of ``ticket``: halve the limit and pause all requests. Return the number of
        consecutive 429 responses."""
        with self._changed:
            if ticket == self._generation:
                self._limit = max(1.0, self._limit / 2)
                self._generation += 1
                self._throttles += 1
            first = FIRST_HOLD_SECONDS if retry_after is None else MIN_HOLD_SECONDS
            grown = min(LONGEST_HOLD_SECONDS, first * 2 ** max(0, min(self._throttles, 10) - 1))
            self._hold(max(retry_after or 0.0, grown))
            return self._throttles

    def hold(self, seconds: float) -> None:
        """Let no request to the provider of labels through for ``seconds``; never shortens a pause."""
        with self._changed:
            self._hold(seconds)

    def close(self, closing: Closing) -> None:
        """Let no more requests to the provider of labels through; the first reason is kept."""
        with self._changed:
            self.closing = self.closing or closing
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Sleep without a slot for a request for ``seconds``, or until the gate closes."""
        until = time.monotonic() + seconds
        with self._changed:
            while self.closing is None and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _hold(self, seconds: float) -> None:
        self._held_until = max(self._held_until, time.monotonic() + seconds)
        self._changed.notify_all()
