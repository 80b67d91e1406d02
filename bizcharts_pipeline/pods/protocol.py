"""Interfaces between the life cycle of a pod, its provider and its listener."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Protocol

PUBLIC_KEY = "PUBLIC_KEY"  # where official images expect the authorised key
NAME_LENGTH = 60


class State(StrEnum):
    """State of a job."""

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
    ORPHAN = "orphan"  # it could not be terminated; the reaper does


class PodStatus(StrEnum):
    """A pod's status according to the control plane, common to both of RunPod's APIs."""

    STARTING = "starting"
    RUNNING = "running"  # the desired state: it may not be reachable yet
    ENDED = "ended"  # exited, failed or terminated; it may still be listed, and billed for its disk


@dataclass(frozen=True)
class Address:
    """Current address of a pod's sshd; it changes with each restart."""

    host: str
    port: int
    user: str


@dataclass(frozen=True)
class Candidate:
    """One combination of GPU, cloud and data centre."""

    gpu: str
    cloud: str  # 'SECURE' or 'COMMUNITY'
    data_center: str | None  # None: anywhere


@dataclass(frozen=True)
class Order:
    """An order for a pod. ``environment`` has no quotes and no newlines, as the SDK does not escape them."""

    name: str
    candidate: Candidate
    image: str
    container_disk_gb: int
    volume_gb: int
    network_volume: str | None
    cuda: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    start_command: str  # the guard that terminates an abandoned pod, then the image's own start


@dataclass(frozen=True)
class Pod:
    """A pod according to its control plane."""

    pod_id: str
    name: str
    status: PodStatus
    address: Address | None  # None: no public port yet
    gpu: str | None
    usd_per_hour: Decimal | None
    machine: str | None  # id of the host; a bad one is not used twice


class Transport(Protocol):
    """Commands and file transfers to one machine. Every call has its own connection and time-out."""

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        """Run a shell command on the pod and return its stdout, which is limited in size.

        Raises:
            LinkLost, LoginRefused, HostChanged: it is not known to have run to its end.
            CommandFailed: it ended with a non-zero status (see `pods.transport`).
        """
        ...

    def push(self, source: Path, target: str, progress: Callable[[], None] = ...) -> None:
        """Copy the content of a local folder to the pod's folder ``target``; files that are already there are not sent
        again.

        ``progress`` is called repeatedly while bytes are transferred, and only then.

        Raises:
            LinkError: the transfer is incomplete; the next call resumes it.
        """
        ...

    def pull(self, source: str, target: Path, progress: Callable[[], None] = ...) -> None:
        """Copy the content of a folder on the pod to the local folder ``target``, with the same resumption.

        Raises:
            LocalDiskError: this machine cannot store it.
        """
        ...


class Provider(Protocol):
    """A provider of pods. Every call has a time-out; nothing is retried here."""

    name: str

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        """Return the price of a pod, or ``None`` if the candidate is not available now.

        Raises:
            AccessDenied, OrderRefused, Uncertain
        """
        ...

    def create(self, order: Order) -> Pod:
        """Create a pod.

        Raises:
            NoCapacity: nothing was created.
            AccessDenied, OutOfFunds, OrderRefused: nothing was created, and retrying does not help.
            Uncertain: search for it by its name before creating another.
        """
        ...

    def find(self, prefix: str) -> list[Pod]:
        """Return the pods whose names start with ``prefix``, the oldest first, including ended ones that are still
        listed.

        A pod that was created in the last minutes may not be listed yet.

        Raises:
            AccessDenied, Uncertain: the list of pods is unknown.
        """
        ...

    def get(self, pod_id: str) -> Pod | None:
        """Return a pod, or ``None`` if this id is not found: the pod is deleted, or is not listed yet.

        Raises:
            AccessDenied, Uncertain
        """
        ...

    def terminate(self, pod_id: str) -> bool:
        """Terminate a pod and its billing; return whether the request was accepted. It is not if this id is not found:
        the pod is deleted, or is not known yet.

        Raises:
            AccessDenied, Uncertain: the request may have been executed nevertheless.
        """
        ...

    def transport(self, pod: Pod, keys: Path) -> Transport:
        """Return the transport to a pod that has an address. ``keys`` is the folder of this pod's key pair and known
        host (`pods.keys`)."""
        ...


@dataclass(frozen=True)
class Job:
    """A job for a pod. Jobs with the same key are the same job, which is never paid for twice at once."""

    key: str  # `pods.identity.job_key`
    folders: Mapping[str, Path]  # target folder name (below the job's folder) to local folder
    setup: str | None  # shell command that creates the environment, run once in the job's folder; None: not needed
    command: tuple[str, ...]  # run in the job's folder; '{python}' is replaced by the environment's Python
    environment: Mapping[str, str]
    secrets: tuple[str, ...] = ()  # environment variables passed on to the job if they are set here
    needs_gpu: bool = True
    least_disk_gb: int = 40
    result: str = "output"  # folder below the job's folder that is fetched at the end
    checkpoints: str | None = (
        "checkpoints"  # the newest checkpoint in this folder is fetched regularly, for another pod to resume from
    )


class Listener(Protocol):
    """Receives events as they happen. After re-attachment, log and messages are repeated from their start."""

    def state(self, state: State, detail: str) -> None:
        """The job on the pod entered a state; ``detail`` is for people."""

    def log(self, chunk: bytes) -> None:
        """More of the stdout and stderr of the job on the pod."""

    def messages(self, chunk: bytes) -> None:
        """More of the message file of the job on the pod, one JSON object a line; a chunk may end inside a line."""

    def cancelled(self) -> bool:
        """Return whether the run that rents the pod is cancelled; called between polls."""
        ...


@dataclass(frozen=True)
class Finished:
    """A successfully finished job."""

    folder: Path  # the fetched result, every file verified
    pod_id: str
    gpu: str | None
    usd: Decimal  # over all its pods, at their listed price
    seconds: float  # from the first pod's creation to the last one's termination
    pods: int
    reattached: bool
