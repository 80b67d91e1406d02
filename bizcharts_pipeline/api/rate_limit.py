"""Rate limit of the API: a token bucket for each client address."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000  # that are remembered; the one that was heard longest ago is forgotten first


class RateLimit:
    """Lets each client make ``per_minute`` requests at once, and as many again in each minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def wait_seconds(self, client: str) -> int:
        """Take a token for a request of ``client`` to the API; return 0, or after how many whole seconds there is
        one."""
        now = self._clock()
        tokens, since = self._clients.pop(client, (float(self._per_minute), now))
        tokens = min(tokens + (now - since) * self._per_minute / 60, float(self._per_minute))
        allowed = tokens >= 1
        self._clients[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - tokens) * 60 / self._per_minute))
