"""State shared by the phases of a pod's life: the job, its current pod, and the connection to it."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from bizcharts_pipeline.pods import remote, sightings
from bizcharts_pipeline.pods.budget import Caps
from bizcharts_pipeline.pods.errors import Cancelled, HostChanged, LinkError, PodError, PodLost
from bizcharts_pipeline.pods.identity import installation_id
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.ledger_rows import JobRow, PodRow
from bizcharts_pipeline.pods.names import pod_name
from bizcharts_pipeline.pods.protocol import Job, Listener, Pod, PodStatus, Provider, State, Transport
from bizcharts_pipeline.pods.states import TRANSITIONS
from bizcharts_pipeline.settings import PodSettings

Result = TypeVar("Result")
_RENEW_SECONDS = 20.0  # seconds between two renewals of a lease during a transfer


@dataclass
class Work:
    """One run's work on a job. It holds no secrets: keys are files, tokens stay in the environment."""

    job: Job
    provider: Provider
    ledger: PodLedger
    settings: PodSettings
    listener: Listener
    into: Path
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    run_id: str
    checkpoint_every: timedelta

    state: State | None = None
    job_row: JobRow | None = None  # the job in the ledger
    row: PodRow | None = None  # the pod in the ledger; without an id while its existence is unknown
    transport: Transport | None = None  # the connection to the pod, once it was reached
    address_of: Pod | None = None  # the pod to which ``transport`` connects
    heard_at: datetime | None = None  # when the pod last answered
    launched: bool = False  # the job was started on the pod, by this run or an earlier one
    reattached: bool = False
    in_doubt: bool = False  # an order with unknown outcome exists
    left_behind: bool = False  # a pod could not be terminated
    candidate: int = 0  # index at which the next search starts
    priced: str = ""  # the pod whose price is known, or known to be unavailable
    misses: int = 0  # consecutive polls without the pod in the control plane's answer
    next_search: datetime | None = None  # when to search for further pods of the job
    between_polls: Callable[[], None] = lambda: None  # called after each pause between two polls
    tail: bytes = field(default=b"", repr=False)  # the end of the job's output

    @property
    def name(self) -> str:
        """Name of all pods of this job; a job that an earlier version began keeps its name."""
        return self.job_row.name if self.job_row is not None else self.new_name

    @property
    def new_name(self) -> str:
        """Name of the job's pods if it is started now."""
        return pod_name(self.settings.name, installation_id(self.ledger.path.parent), self.job.key)

    @property
    def folder(self) -> Path:
        """Local folder of the pod's job: lock, keys, checkpoint, salvaged logs."""
        return self.ledger.folder(self.job.key)

    @property
    def keys(self) -> Path:
        """Local folder of the pod's SSH key pair and known host."""
        return self.folder / "keys"

    @property
    def checkpoint(self) -> Path:
        """Local folder of the newest checkpoint fetched from the pod."""
        return self.folder / "checkpoint"

    @property
    def lag(self) -> timedelta:
        """The time for which a new pod may be missing from the control plane's answers."""
        return timedelta(seconds=self.settings.lag_seconds)

    @property
    def caps(self) -> Caps:
        """The configured caps on the cost of pods."""
        return Caps(self.settings.usd_per_run, self.settings.usd_per_month)

    @property
    def job_id(self) -> int:
        """The row id of the pod's job in the ledger."""
        assert self.job_row is not None
        return self.job_row.id

    @property
    def pod(self) -> PodRow:
        """The current pod's row."""
        assert self.row is not None
        assert self.row.pod_id is not None
        return self.row

    @property
    def pod_id(self) -> str:
        """The current pod's id."""
        assert self.pod.pod_id is not None
        return self.pod.pod_id

    @property
    def root(self) -> str:
        """The job's folder on the pod."""
        assert self.pod.root is not None
        return self.pod.root

    def enter(self, state: State, detail: str) -> None:
        """Enter a state of the pod's life: record it in the ledger, then notify the listener."""
        assert self.state is None or state in TRANSITIONS[self.state], f"{self.state} -> {state}"
        self.ledger.enter(self.job_id, self.row.id if self.row else None, state, detail, self.now())
        self.state = state
        self.listener.state(state, detail)

    def say(self, detail: str) -> None:
        """Send the listener a message about the current state of the pod's job."""
        assert self.state is not None
        self.listener.state(self.state, detail)

    def stop_if_cancelled(self) -> None:
        """Raise :class:`Cancelled` if the run that rents the pod was cancelled."""
        if self.listener.cancelled():
            raise Cancelled("The run was cancelled; its pod is terminated")

    def wait(self, seconds: float) -> None:
        """Sleep; raise :class:`Cancelled` if the run that rents the pod was cancelled."""
        self.stop_if_cancelled()
        self.sleep(seconds)
        self.stop_if_cancelled()

    def poll_pause(self) -> None:
        """Sleep for the configured interval between two polls of a pod or of the control plane."""
        self.wait(self.settings.poll_seconds)
        self.between_polls()

    def connect(self, pod: Pod) -> Transport:
        """Return the transport to a pod, a new one if its address has changed."""
        if self.transport is None or self.address_of is None or self.address_of.address != pod.address:
            self.transport = self.provider.transport(pod, self.keys)
            self.address_of = pod
        return self.transport

    def over_link(self, call: Callable[[Transport], Result]) -> Result:
        """Call ``call`` with the transport; after a connection loss, retry it until the pod's lease ends.

        Raises:
            PodLost: the pod disappeared, was reset, or did not answer for longer than its lease.
        """
        while True:
            assert self.transport is not None
            try:
                result = call(self.transport)
            except HostChanged as error:
                raise PodLost(f"The pod {self.pod_id} was reset, and the job on it is lost: {error}") from error
            except LinkError as error:
                self._await_link(error)
            else:
                self.heard_at = self.now()
                return result

    def progress_over(self, transport: Transport) -> Callable[[], None]:
        """Return the progress callback of a transfer: it records that the pod responds, and renews its lease regularly.

        A stalled transfer renews nothing, so its pod terminates itself as if this run did not exist.
        """
        every = min(_RENEW_SECONDS, self.settings.lease_minutes * 60 / 4)
        renewed = -every

        def progress() -> None:
            nonlocal renewed
            self.heard_at = self.now()
            if self.launched and time.monotonic() - renewed >= every:
                renewed = time.monotonic()
                with suppress(PodError):
                    remote.renew(transport, self.root)

        return progress

    def forget_pod(self) -> None:
        """Forget the current pod."""
        self.row = self.transport = self.address_of = self.heard_at = None
        self.next_search = None
        self.launched = self.in_doubt = False
        self.misses = 0
        self.tail = b""

    def _await_link(self, error: LinkError) -> None:
        """Handle a connection loss: wait, then update the pod's address."""
        lease = timedelta(minutes=self.settings.lease_minutes)
        assert self.heard_at is not None
        silent = self.now() - self.heard_at
        if silent > lease:
            minutes = silent.total_seconds() / 60
            raise PodLost(f"The pod {self.pod_id} cannot be reached for {minutes:.0f} min: {error}") from error
        self.say(f"connection lost; the job continues; retrying: {error}")
        self.poll_pause()
        try:
            pod = self.provider.get(self.pod_id)
        except PodError:
            return  # an unreachable control plane says nothing about the pod
        if pod is None:
            if sightings.has_vanished(self):
                raise PodLost(f"The pod {self.pod_id} is no longer listed, and was not terminated here") from error
            return
        sightings.record_listed(self, pod)
        if pod.status is PodStatus.ENDED:
            raise PodLost(f"The pod {self.pod_id} has ended, and BizCharts did not terminate it") from error
        if pod.address is not None:
            self.connect(pod)
