"""What the states of a pod's life share: whose job it is, which pod it has now, and the link to it."""

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
_RENEW_SECONDS = 20.0  # between two renewals of a lease while files travel


@dataclass
class Work:
    """One run's work on a job. No secret is in it: keys are files, tokens stay in the environment."""

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
    undertaken: JobRow | None = None  # the job in the ledger
    row: PodRow | None = None  # the pod in the ledger; without an id while nobody knows whether there is one
    transport: Transport | None = None  # the link to the pod, once it was reached
    address_of: Pod | None = None  # whom the transport leads to
    heard_at: datetime | None = None  # when the pod last answered
    launched: bool = False  # the job was started on the pod, by us or by a run before us
    reattached: bool = False
    in_doubt: bool = False  # an order of which nobody knows what came
    left_behind: bool = False  # a pod could not be ended
    candidate: int = 0  # with which the next search begins
    priced: str = ""  # the pod of which the price is known, or known not to be told
    misses: int = 0  # looks in a row in which the control plane did not show the pod
    next_look: datetime | None = None  # when to look for further pods of the job
    between_polls: Callable[[], None] = lambda: None  # called after each pause between two polls
    tail: bytes = field(default=b"", repr=False)  # the last that the job printed

    @property
    def name(self) -> str:
        """Of all pods of this job; a job that an earlier version began keeps its name."""
        return self.undertaken.name if self.undertaken is not None else self.new_name

    @property
    def new_name(self) -> str:
        """Of the pods of this job if it is begun now."""
        return pod_name(self.settings.name, installation_id(self.ledger.path.parent), self.job.key)

    @property
    def folder(self) -> Path:
        """On this machine, of this job: lock, keys, checkpoint, salvaged logs."""
        return self.ledger.folder(self.job.key)

    @property
    def keys(self) -> Path:
        """Folder of the pod's key pair and known host."""
        return self.folder / "keys"

    @property
    def checkpoint(self) -> Path:
        """Folder of the newest checkpoint that was fetched."""
        return self.folder / "checkpoint"

    @property
    def lag(self) -> timedelta:
        """How long a new pod may be missing in the control plane's answers."""
        return timedelta(seconds=self.settings.lag_seconds)

    @property
    def caps(self) -> Caps:
        """What it may cost."""
        return Caps(self.settings.usd_per_run, self.settings.usd_per_month)

    @property
    def job_id(self) -> int:
        """Of the job in the ledger."""
        assert self.undertaken is not None
        return self.undertaken.id

    @property
    def pod(self) -> PodRow:
        """The pod that there is."""
        assert self.row is not None
        assert self.row.pod_id is not None
        return self.row

    @property
    def pod_id(self) -> str:
        """Of the pod that there is."""
        assert self.pod.pod_id is not None
        return self.pod.pod_id

    @property
    def root(self) -> str:
        """The job's folder on the pod."""
        assert self.pod.root is not None
        return self.pod.root

    def enter(self, state: State, detail: str) -> None:
        """Go over to a state: first in the ledger, then for those who watch."""
        assert self.state is None or state in TRANSITIONS[self.state], f"{self.state} -> {state}"
        self.ledger.enter(self.job_id, self.row.id if self.row else None, state, detail, self.now())
        self.state = state
        self.listener.state(state, detail)

    def say(self, detail: str) -> None:
        """Tell those who watch something about the present state."""
        assert self.state is not None
        self.listener.state(self.state, detail)

    def stop_if_cancelled(self) -> None:
        """Raise :class:`Cancelled` if somebody wants this to stop."""
        if self.listener.cancelled():
            raise Cancelled("The run was stopped; its pod is ended")

    def wait(self, seconds: float) -> None:
        """Wait, and stop if somebody wants that."""
        self.stop_if_cancelled()
        self.sleep(seconds)
        self.stop_if_cancelled()

    def poll_pause(self) -> None:
        """Wait as long as the settings say between two questions to a pod or to its control plane."""
        self.wait(self.settings.poll_seconds)
        self.between_polls()

    def connect(self, pod: Pod) -> Transport:
        """Return the way to a pod, a new one where its address has changed."""
        if self.transport is None or self.address_of is None or self.address_of.address != pod.address:
            self.transport = self.provider.transport(pod, self.keys)
            self.address_of = pod
        return self.transport

    def over_link(self, call: Callable[[Transport], Result]) -> Result:
        """Do something over the link; after each loss of it again, as long as the pod's lease may run.

        Raises:
            PodLost: the pod is gone, was reset, or did not answer for longer than its lease.
        """
        while True:
            assert self.transport is not None
            try:
                result = call(self.transport)
            except HostChanged as error:
                raise PodLost(f"The pod {self.pod_id} was reset, and the job on it is gone: {error}") from error
            except LinkError as error:
                self._outlast(error)
            else:
                self.heard_at = self.now()
                return result

    def progress_over(self, transport: Transport) -> Callable[[], None]:
        """Return what a transfer calls while bytes move: the pod has been heard, and its lease is renewed now and then.

        A transfer that does not progress renews nothing, so that its pod ends as it would without us.
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
        """Have no pod any more."""
        self.row = self.transport = self.address_of = self.heard_at = None
        self.next_look = None
        self.launched = self.in_doubt = False
        self.misses = 0
        self.tail = b""

    def _outlast(self, error: LinkError) -> None:
        """Go on after a lost link: wait, and ask where the pod is now."""
        lease = timedelta(minutes=self.settings.lease_minutes)
        assert self.heard_at is not None
        silent = self.now() - self.heard_at
        if silent > lease:
            minutes = silent.total_seconds() / 60
            raise PodLost(f"The pod {self.pod_id} cannot be reached for {minutes:.0f} min: {error}") from error
        self.say(f"link lost, the job goes on without us; trying again: {error}")
        self.poll_pause()
        try:
            pod = self.provider.get(self.pod_id)
        except PodError:
            return  # the control plane being away says nothing about the pod
        if pod is None:
            if sightings.has_vanished(self):
                raise PodLost(f"The pod {self.pod_id} is not shown any more, and nobody here ended it") from error
            return
        sightings.shown(self, pod)
        if pod.status is PodStatus.ENDED:
            raise PodLost(f"The pod {self.pod_id} ended, and nobody here ended it") from error
        if pod.address is not None:
            self.connect(pod)
