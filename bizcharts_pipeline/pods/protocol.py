"""What stands between the life of a pod, whoever rents it out, and whoever watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Protocol

PUBLIC_KEY = "PUBLIC_KEY"  # where official images look for the key that may log in
NAME_LENGTH = 60


class State(StrEnum):
    """Where in its life a job is."""

    PLANNED = "planned"
    CREATING = "creating"
    BOOTING = "booting"
    PREFLIGHT = "preflight"
    STAGING = "staging"
    RUNNING = "running"
    COLLECTING = "collecting"
    RELEASING = "releasing"
    RELEASED = "released"
    LOST = "lost"
    ORPHAN = "orphan"  # it could not be ended; the reaper does


class PodStatus(StrEnum):
    """What the control plane says of a pod, whatever its dialect."""

    STARTING = "starting"
    RUNNING = "running"  # it is wanted to run: that does not mean that it can be reached
    ENDED = "ended"  # exited, failed or terminated; it may still be listed and billed for its disk


@dataclass(frozen=True)
class Address:
    """Where a pod's sshd is to be found now; it changes with each restart."""

    host: str
    port: int
    user: str


@dataclass(frozen=True)
class Candidate:
    """One way to get a pod."""

    gpu: str
    cloud: str  # 'SECURE' or 'COMMUNITY'
    data_center: str | None  # None: anywhere


@dataclass(frozen=True)
class Order:
    """A pod to be created. ``environment`` has no quotes and no newlines: the SDK does not escape them."""

    name: str
    candidate: Candidate
    image: str
    container_disk_gb: int
    volume_gb: int
    network_volume: str | None
    cuda: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    start_command: str  # the guard that ends the pod if nobody comes, then the image's own start


@dataclass(frozen=True)
class Pod:
    """A pod as its control plane knows it."""

    pod_id: str
    name: str
    status: PodStatus
    address: Address | None  # None: no public port yet
    gpu: str | None
    usd_per_hour: Decimal | None
    machine: str | None  # of the host: a bad one is not taken twice


class Transport(Protocol):
    """Commands and files to and from one machine. Every call has its own connection and time-out."""

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        """Run a shell command and return what it wrote to stdout, of which the size is capped.

        Raises:
            LinkLost, LoginRefused, HostChanged: it did not run to its end, as far as can be told.
            CommandFailed: it ran and ended with another status than 0 (see `pods.transport`).
        """
        ...

    def push(self, source: Path, target: str, progress: Callable[[], None] = ...) -> None:
        """Copy the content of a folder into the folder ``target``; what is there already is not sent again.

        ``progress`` is called again and again while bytes really move, and not while they do not.

        Raises:
            LinkError: not all of it arrived; the next call goes on where this one stopped.
        """
        ...

    def pull(self, source: str, target: Path, progress: Callable[[], None] = ...) -> None:
        """Copy the content of a folder of the machine into ``target``, resuming in the same way.

        Raises:
            LocalDiskError: this machine cannot store it.
        """
        ...


class Provider(Protocol):
    """Who rents out pods. Every call has a time-out; nothing is retried in here."""

    name: str

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        """Return the price, or ``None`` where the candidate is not to be had now.

        Raises:
            AccessDenied, OrderRefused, Uncertain
        """
        ...

    def create(self, order: Order) -> Pod:
        """Create a pod.

        Raises:
            NoCapacity: nothing was created.
            AccessDenied, OutOfFunds, OrderRefused: nothing was created, and asking again does not help.
            Uncertain: look it up by its name before creating another.
        """
        ...

    def find(self, prefix: str) -> list[Pod]:
        """Return the pods whose names begin with ``prefix``, the oldest first, ended ones that are still listed too.

        A pod that was created in the last minutes may not be listed yet.

        Raises:
            AccessDenied, Uncertain: it is not known which pods there are.
        """
        ...

    def get(self, pod_id: str) -> Pod | None:
        """Return a pod, or ``None`` where none is shown under this id: it is gone, or is not shown yet.

        Raises:
            AccessDenied, Uncertain
        """
        ...

    def terminate(self, pod_id: str) -> bool:
        """End a pod and its bill; return whether the request was accepted. It is not where no pod is known under this
        id: it is gone, or is not known yet.

        Raises:
            AccessDenied, Uncertain: the request may have been carried out all the same.
        """
        ...

    def transport(self, pod: Pod, keys: Path) -> Transport:
        """Return the way to a pod that has an address. ``keys`` is the folder of this pod's key pair and known host
        (`pods.keys`)."""
        ...


@dataclass(frozen=True)
class Job:
    """What is to be done on a pod. The same key is the same job: it is never paid twice at once."""

    key: str  # `pods.identity.job_key`
    folders: Mapping[str, Path]  # name below the job's folder: a local folder that is copied there
    setup: str | None  # shell command that makes the environment, run once in the job's folder; None: nothing to do
    command: tuple[str, ...]  # run in the job's folder; '{python}' is replaced by the environment's Python
    environment: Mapping[str, str]
    secrets: tuple[str, ...] = ()  # names of variables handed on to the job where they are set here
    needs_gpu: bool = True
    least_disk_gb: int = 40
    result: str = "output"  # folder below the job's folder that is fetched at the end
    checkpoints: str | None = (
        "checkpoints"  # folder of which the newest is fetched now and then, for another pod to resume
    )


class Listener(Protocol):
    """Who is told what happens, as it happens. After a re-attachment log and messages come again from their start."""

    def state(self, state: State, detail: str) -> None:
        """The job entered a state; ``detail`` is for people."""

    def log(self, chunk: bytes) -> None:
        """More of what the job wrote to stdout and stderr."""

    def messages(self, chunk: bytes) -> None:
        """More of the job's message file, one JSON a line; a chunk may end inside a line."""

    def cancelled(self) -> bool:
        """Whether somebody wants this to stop; asked between polls."""
        ...


@dataclass(frozen=True)
class Finished:
    """A job's end that brought its result."""

    folder: Path  # the fetched result, every file verified
    pod_id: str
    gpu: str | None
    usd: Decimal  # over all pods that it took, by their listed price
    seconds: float  # from the first pod's creation to the last one's end
    pods: int
    reattached: bool
