"""RunPod Serverless on loopback: endpoints, their queues, workers that start and stop, and the bill of the workers.

A worker is a thread with the real handler (`training/onpod/queue_worker.py`) around a simulated model. It starts when a
job waits, takes one job at a time, and stops after its idle time; it is billed by the second from start to stop. Time
passes ``speed`` times as fast as on the wall: all times that a client sees are simulated.

Limitations: an endpoint has one worker at most, whatever its maximum; of the queue's requests it knows those that the
client sends.
"""

import json
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bizcharts_pipeline.demo.pods.billing import OFFERS
from bizcharts_pipeline.demo.pods.faults import Chance, PodFault, PodFaults
from bizcharts_pipeline.demo.pods.rest import problem
from bizcharts_pipeline.training.onpod.queue_worker import Reply, Worker

ENDPOINTS = "/v2/serverless"
QUEUES = "/queues/v2"
KEPT_SECONDS = 1800.0  # after a job's end
_FIELDS = {"name", "image", "type", "disk", "env", "gpu", "workers", "scaling", "timeout", "flashboot"}
_TICK = 0.002  # seconds, on the wall

Answer = tuple[int, Any]


def no_model(body: Any) -> Reply:
    """Refuse every question to a simulated serverless worker."""
    return 404, {"error": {"message": "No model is served.", "code": "model_not_found"}}


@dataclass
class QueuedJob:
    """A job; times are simulated seconds."""

    job_id: str
    input: Any
    limit: float  # execution time-out
    ttl: float
    queued: float
    state: str = "IN_QUEUE"
    taken: float | None = None
    ended: float | None = None
    output: Any = None
    error: str = ""
    retries: int = 0
    forgotten: bool = False

    def document(self) -> dict[str, Any]:
        """Return the job of a simulated endpoint as the API describes it."""
        told: dict[str, Any] = {"id": self.job_id, "status": self.state}
        if self.taken is not None:
            told["delayTime"] = int(1000 * (self.taken - self.queued))
        if self.ended is not None and self.taken is not None:
            told["executionTime"] = int(1000 * (self.ended - self.taken))
        if self.retries:
            told["retries"] = self.retries
        if self.state == "COMPLETED":
            told["output"] = self.output
        elif self.error:
            told["error"] = self.error
        return told


@dataclass
class WorkerLife:
    """A worker's time from its start to its stop, in simulated seconds."""

    endpoint: str  # its name
    usd_per_hour: Decimal
    started: float
    stopped: float | None = None

    def usd(self, now: float) -> Decimal:
        """Return the cost of a simulated worker; a started second counts as a full one."""
        seconds = math.ceil((now if self.stopped is None else self.stopped) - self.started)
        return self.usd_per_hour * seconds / 3600


@dataclass
class SimulatedEndpoint:
    """An endpoint and its jobs."""

    endpoint_id: str
    body: dict[str, Any]
    usd_per_hour: Decimal
    jobs: dict[str, QueuedJob] = field(default_factory=dict)
    worker: WorkerLife | None = None

    @property
    def workers(self) -> dict[str, int]:
        return {"min": 0, "max": 3, "idleTimeout": 5, **self.body.get("workers", {})}

    def document(self) -> dict[str, Any]:
        """Return the simulated endpoint as the API describes it."""
        return {
            **{"dataCenterIds": [], "networkVolumes": [], "requestUrls": {}},
            **self.body,
            "id": self.endpoint_id,
            "workers": self.workers,
            "createdAt": datetime.now(UTC).isoformat(),
        }


class Serverless:
    """The endpoints of an account; thread-safe.

    Attributes:
        start_seconds, slow_start_seconds: how long a worker starts, normally and with the fault.
        post_seconds: how long the model takes for each question of a job, in addition to the real time.
        ready: while it is not set, no worker gets ready.
        lives: all workers that ever started.
        answered: the key of each question in a completed job.
    """

    def __init__(self, answer: Callable[[Any], Reply], *, speed: float = 1.0) -> None:
        self.chance = Chance(PodFaults())
        self.start_seconds, self.slow_start_seconds, self.post_seconds = 8.0, 60.0, 0.05
        self.ready = threading.Event()
        self.ready.set()
        self.lives: list[WorkerLife] = []
        self.answered: list[str] = []
        self._model, self._speed = answer, speed
        self._model_is_free = threading.Lock()
        self._endpoints: dict[str, SimulatedEndpoint] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def now(self) -> float:
        """Return the simulated time in seconds."""
        return time.monotonic() * self._speed

    def bill(self) -> Decimal:
        """Return the cost of all simulated workers so far."""
        with self._lock:
            return sum((life.usd(self.now()) for life in self.lives), Decimal(0))

    def bill_document(self) -> dict[str, Any]:
        """Return the cost of each simulated worker as JSON; amounts are strings in USD."""
        with self._lock:
            charges = [
                {"endpoint": life.endpoint, "usd": str(life.usd(self.now())), "stopped": life.stopped is not None}
                for life in self.lives
            ]
        return {"usd": str(self.bill()), "workers": charges}

    @property
    def running(self) -> int:
        """The number of simulated workers that are billed now."""
        return sum(life.stopped is None for life in self.lives)

    @property
    def endpoints(self) -> list[SimulatedEndpoint]:
        """The simulated endpoints that exist."""
        with self._lock:
            return list(self._endpoints.values())

    def close(self) -> None:
        """Stop all simulated workers."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    # The control plane.

    def manage(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request to the simulated REST v2 about endpoints."""
        endpoint_id = path.removeprefix(ENDPOINTS).strip("/")
        with self._lock:
            if not endpoint_id:
                if method == "GET":
                    return 200, {"endpoints": [endpoint.document() for endpoint in self._endpoints.values()]}
                return self._create(json.loads(body))
            endpoint = self._endpoints.get(endpoint_id)
            if endpoint is None:
                return problem(404, "resource not found")
            if method == "PATCH":
                changed = json.loads(body)
                workers = endpoint.workers | changed.pop("workers", {})
                endpoint.body |= {**changed, "workers": workers}
                self._wake(endpoint)
            elif method == "DELETE":
                del self._endpoints[endpoint_id]
                return 204, None
            return 200, endpoint.document()

    def _create(self, body: dict[str, Any]) -> Answer:
        if unknown := sorted(set(body) - _FIELDS):
            return problem(422, "Request validation failed.", *(f"{name}: unknown field" for name in unknown))
        if missing := sorted({"name", "image", "type", "scaling", "gpu"} - set(body)):
            return problem(422, "Request validation failed.", *(f"{name}: required" for name in missing))
        price = next((offer.serverless for offer in OFFERS if offer.pool == body["gpu"]["pools"][0]), None)
        if price is None:
            return problem(400, "The request breaks a rule.", "gpu.pools: unknown")
        endpoint = SimulatedEndpoint(secrets.token_hex(7), body, price)
        self._endpoints[endpoint.endpoint_id] = endpoint
        return 201, endpoint.document()

    # The queue.

    def queue(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request to a simulated endpoint's queue; ``path`` begins with the endpoint's id."""
        endpoint_id, _, rest = path.partition("/")
        operation, _, job_id = rest.partition("/")
        with self._lock:
            endpoint = self._endpoints.get(endpoint_id)
            if endpoint is None:
                return 404, {"error": "endpoint not found"}
            if operation == "purge-queue":
                waiting = [job for job in endpoint.jobs.values() if job.state == "IN_QUEUE"]
                for job in waiting:
                    job.state, job.ended = "CANCELLED", self.now()
                return 200, {"removed": len(waiting), "status": "completed"}
            if operation in ("status", "cancel"):
                return self._status(endpoint, job_id, cancel=operation == "cancel")
            if operation != "run" or method != "POST":
                return 404, {"error": "not found"}
            return 200, {"id": self._put(endpoint, json.loads(body)).job_id, "status": "IN_QUEUE"}

    def _put(self, endpoint: SimulatedEndpoint, body: dict[str, Any]) -> QueuedJob:
        policy = body.get("policy") or {}
        limit = policy.get("executionTimeout", endpoint.body.get("timeout", 600_000)) / 1000
        job_id = f"{secrets.token_hex(16)}-u1"
        job = QueuedJob(job_id, body["input"], limit, policy.get("ttl", 86_400_000) / 1000, self.now())
        endpoint.jobs[job.job_id] = job
        self._wake(endpoint)
        return job

    def _status(self, endpoint: SimulatedEndpoint, job_id: str, *, cancel: bool) -> Answer:
        job = endpoint.jobs.get(job_id)
        if job is None or self._is_gone(job):
            return 404, {"error": "job not found"}
        if cancel and job.ended is None:
            job.state, job.ended = "CANCELLED", self.now()
        return 200, job.document()

    def _is_gone(self, job: QueuedJob) -> bool:
        """Whether the queue has forgotten the job."""
        if job.ended is None:
            return self.now() > job.queued + job.ttl
        return job.forgotten or self.now() > job.ended + KEPT_SECONDS

    # The workers.

    def _wake(self, endpoint: SimulatedEndpoint) -> None:
        """Start a worker if a job waits and none runs; the caller holds the lock."""
        waiting = self._next(endpoint)
        if waiting is None or endpoint.worker is not None or endpoint.workers["max"] < 1 or self._closed.is_set():
            return
        endpoint.worker = WorkerLife(endpoint.body["name"], endpoint.usd_per_hour, self.now())
        self.lives.append(endpoint.worker)
        slow = self.chance.meets(PodFault.SLOW_START, "worker")
        seconds = self.slow_start_seconds if slow else self.start_seconds
        thread = threading.Thread(target=self._work, args=(endpoint, endpoint.worker, seconds), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _next(self, endpoint: SimulatedEndpoint) -> QueuedJob | None:
        waiting = (job for job in endpoint.jobs.values() if job.state == "IN_QUEUE" and not self._is_gone(job))
        return next(waiting, None)

    def _work(self, endpoint: SimulatedEndpoint, life: WorkerLife, start: float) -> None:
        """Start, take jobs until none comes for the idle time, and stop."""
        self._pass(start)
        while not self.ready.is_set() and not self._closed.is_set():
            time.sleep(_TICK)
        handler = Worker(self._answer, self.now)
        idle_since = self.now()
        alive, stops = True, 0.0
        while alive and not self._closed.is_set() and endpoint.workers["max"] > 0:
            idles_until = idle_since + endpoint.workers["idleTimeout"]
            with self._lock:
                if self.now() >= idles_until:
                    stops = idles_until
                    break
                job = self._next(endpoint)
                if job is not None:
                    job.state, job.taken = "IN_PROGRESS", self.now()
            if job is None:
                time.sleep(_TICK)
                continue
            alive = self._execute(handler, job)
            idle_since = job.ended or self.now()
        with self._lock:
            life.stopped = stops or self.now()
            endpoint.worker = None
            self._wake(endpoint)

    def _execute(self, handler: Worker, job: QueuedJob) -> bool:
        """Execute a job; return whether the worker survives it."""
        requests = job.input.get("requests") or {}
        assert job.taken is not None
        if self.chance.meets(PodFault.JOB_HANGS, "job"):
            self._pass(job.limit)
            self._end(job, "TIMED_OUT", "job timed out")
            return False
        try:
            output = handler({"id": job.job_id, "input": job.input})
        except Exception as error:  # as the SDK does around a handler
            self._end(job, "FAILED", f"{type(error).__name__}: {error}")
            return True
        if self.chance.meets(PodFault.JOB_RETRIED, "job"):
            with self._lock:
                job.state, job.taken, job.retries = "IN_QUEUE", None, job.retries + 1
            return False
        if self.chance.meets(PodFault.JOB_FAILS, "job"):
            self._end(job, "FAILED", "worker exited with exit code 137")
            return False
        job.output = output
        job.forgotten = self.chance.meets(PodFault.JOB_FORGOTTEN, "job")
        self.answered += requests
        self._end(job, "COMPLETED")
        return True

    def _end(self, job: QueuedJob, state: str, error: str = "") -> None:
        with self._lock:
            job.state, job.error, job.ended = state, error, self.now()

    def _answer(self, question: Any) -> Reply:
        """Answer one question at a time, in the time that the model takes."""
        with self._model_is_free:
            self._pass(self.post_seconds)
        return self._model(question)

    def _pass(self, seconds: float) -> None:
        """Wait for some simulated seconds."""
        self._closed.wait(seconds / self._speed)
