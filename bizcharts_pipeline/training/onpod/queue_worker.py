"""The handler of a serverless worker, whatever answers its questions: needs the standard library only.

The input of a job is ``{"requests": {key: body}}``, with a chat completion for each key; the output ``{"answers": {key:
{"status", "body"}}, "idle_ms"}``. ``idle_ms`` is how long this process had no job before, in milliseconds, ``None``
before its first one: with RunPod's own times of the job, the client computes from it what the worker costs.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 16  # two forward passes' worth

Reply = tuple[int, dict[str, Any]]  # status and body


class Worker:
    """Handles one job at a time. ``answer`` answers one chat completion; ``clock`` is in seconds."""

    def __init__(self, answer: Callable[[Any], Reply], clock: Callable[[], float] = time.monotonic) -> None:
        self._answer, self._clock = answer, clock
        self._ended: float | None = None  # the last job
        self._lock = threading.Lock()

    def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the output of a job; a job without requests only warms the worker up."""
        with self._lock:
            idle = None if self._ended is None else int(1000 * (self._clock() - self._ended))
            requests: dict[str, Any] = (job.get("input") or {}).get("requests") or {}
            with ThreadPoolExecutor(AT_ONCE) as pool:
                replies = pool.map(self._answer, requests.values())
                answers = {
                    key: {"status": status, "body": body} for key, (status, body) in zip(requests, replies, strict=True)
                }
            self._ended = self._clock()
            return {"answers": answers, "idle_ms": idle}
