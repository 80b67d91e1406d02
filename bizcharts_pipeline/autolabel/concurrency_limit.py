"""How many requests to one provider are under way at once: more while all goes well, half as many when it objects.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms for
congestion avoidance", 1989): one more for each round of successes, half on a 429, and nobody sends before the
pause that the service asked for is over. Objections to requests that were sent before the last cut do not cut again.
"""

import threading
import time
from dataclasses import dataclass
from typing import Literal

START = 8
FIRST_HOLD_SECONDS = 1.0  # where the service does not say how long; doubled while it goes on
MIN_HOLD_SECONDS = 0.05  # where it asks for no pause at all; doubled likewise
LONGEST_HOLD_SECONDS = 60.0

Kind = Literal["stop", "budget", "limit", "bug", "silence", "ended"]


@dataclass(frozen=True)
class Closing:
    """Why a provider is asked nothing more in this run."""

    kind: Kind
    why: str


class Gate:
    """Lets at most as many threads through as the provider bears; of use to many threads."""

    def __init__(self, most: int, start: int = START) -> None:
        self._most = most
        self._limit = float(min(start, most))
        self._inside = 0
        self._generation = 0  # of the limit; grows with every cut
        self._held_until = 0.0  # monotonic clock
        self._objections = 0  # in a row
        self._changed = threading.Condition()
        self.closing: Closing | None = None

    @property
    def limit(self) -> int:
        """How many may be inside now."""
        return int(self._limit)

    def enter(self) -> int | None:
        """Wait to be let in; return a ticket for :meth:`objected`, or ``None``: closed."""
        with self._changed:
            while self.closing is None:
                hold = self._held_until - time.monotonic()
                if hold <= 0 and self._inside < self.limit:
                    self._inside += 1
                    return self._generation
                self._changed.wait(hold if hold > 0 else None)
            return None

    def leave(self) -> None:
        """Release the slot."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def succeeded(self) -> None:
        """A request was answered."""
        with self._changed:
            self._objections = 0
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
            self._changed.notify_all()

    def widen(self) -> None:
        """Let as many in as at a usual start."""
        with self._changed:
            self._limit = max(self._limit, float(min(START, self._most)))
            self._changed.notify_all()

    def calm(self) -> None:
        """Begin to count objections anew."""
        with self._changed:
            self._objections = 0

    def objected(self, ticket: int, retry_after: float | None) -> int:
        """The request of ``ticket`` came too soon: halve, and hold everybody back; return how many did in a row."""
        with self._changed:
            if ticket == self._generation:
                self._limit = max(1.0, self._limit / 2)
                self._generation += 1
                self._objections += 1
            first = FIRST_HOLD_SECONDS if retry_after is None else MIN_HOLD_SECONDS
            grown = min(LONGEST_HOLD_SECONDS, first * 2 ** max(0, min(self._objections, 10) - 1))
            self._hold(max(retry_after or 0.0, grown))
            return self._objections

    def hold(self, seconds: float) -> None:
        """Let nobody in for so long; never shortens a pause."""
        with self._changed:
            self._hold(seconds)

    def close(self, closing: Closing) -> None:
        """Let nobody in any more; the first reason stays."""
        with self._changed:
            self.closing = self.closing or closing
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait outside for so long, or until the gate closes."""
        until = time.monotonic() + seconds
        with self._changed:
            while self.closing is None and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _hold(self, seconds: float) -> None:
        self._held_until = max(self._held_until, time.monotonic() + seconds)
        self._changed.notify_all()
