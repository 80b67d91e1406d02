"""The queue of a serverless endpoint: jobs with a result, their states and times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bizcharts_pipeline.pods.errors import OrderRefused, Uncertain
from bizcharts_pipeline.pods.providers.access import queue_access
from bizcharts_pipeline.pods.providers.orders import check_id
from bizcharts_pipeline.pods.providers.rest import refused
from bizcharts_pipeline.pods.providers.rest_http import Reply, ask

MOST_BYTES = 8 * 1024 * 1024  # of a job; RunPod's limit for `run` is 10 MB
WAITING = frozenset({"IN_QUEUE", "IN_PROGRESS", "RUNNING"})
COMPLETED = "COMPLETED"
FAILED = frozenset({"FAILED", "TIMED_OUT", "CANCELLED"})
_SECONDS = 20.0  # for the answer to a short request


@dataclass(frozen=True)
class Job:
    """A job's state. Times are in milliseconds: until a worker took it, and of its execution; ``None``: not stated.
    ``retried``: a worker was lost, and the job began again."""

    job_id: str
    state: str
    delay_ms: int | None = None
    execution_ms: int | None = None
    retried: bool = False
    output: Any = field(default=None, repr=False)
    error: str = ""

    @property
    def waits(self) -> bool:
        """Whether the job in a serverless endpoint's queue has not ended."""
        return self.state in WAITING


class Queue:
    """Client of the queue of one serverless endpoint. Every method may raise these errors.

    Raises:
        AccessDenied: the key is missing or refused.
        OutOfFunds, OrderRefused: nothing was done.
        Unsent, Busy: nothing was done; a later request may succeed.
        Uncertain: it is unknown whether the request was carried out.
    """

    def __init__(self, endpoint_id: str) -> None:
        self._access = queue_access()
        self._path = f"/{check_id(endpoint_id)}"

    def run(self, body: Mapping[str, Any]) -> Job:
        """Put a job into the serverless endpoint's queue."""
        return job_in(self._post("run", body))

    def status(self, job_id: str) -> Job | None:
        """Return the job of the serverless endpoint; ``None`` if the queue has forgotten it."""
        reply = ask("GET", f"{self._path}/status/{check_id(job_id)}", at=self._access, seconds=_SECONDS)
        if reply.status == 404 and reply.body is not None:
            return None
        return job_in(_success(reply))

    def cancel(self, job_id: str) -> None:
        """End a job of the serverless endpoint that waits or is executed."""
        self._post(f"cancel/{check_id(job_id)}")

    def purge(self) -> None:
        """Remove the jobs that wait for a worker of the serverless endpoint."""
        self._post("purge-queue")

    def _post(self, operation: str, body: Mapping[str, Any] | None = None) -> Reply:
        return _success(ask("POST", f"{self._path}/{operation}", at=self._access, body=body, seconds=_SECONDS))


def _success(reply: Reply) -> Reply:
    if reply.status == 200:
        return reply
    if reply.status in (400, 404, 413, 422) and reply.body is not None:
        raise OrderRefused(f"RunPod's queue refuses the request ({reply.status}): {reply.detail}")
    raise refused(reply)


def job_in(reply: Reply) -> Job:
    """Return the job that an answer of the serverless endpoint's queue describes.

    Raises:
        Uncertain: it describes none.
    """
    body = reply.body if isinstance(reply.body, Mapping) else {}
    job_id, state = body.get("id"), body.get("status")
    if not isinstance(job_id, str) or not isinstance(state, str) or state not in WAITING | FAILED | {COMPLETED}:
        raise Uncertain(f"RunPod's answer does not describe a job: {reply.detail}")
    return Job(
        job_id,
        state,
        _milliseconds(body.get("delayTime")),
        _milliseconds(body.get("executionTime")),
        bool(body.get("retries")),
        body.get("output"),
        str(body.get("error") or "")[:300],
    )


def _milliseconds(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
