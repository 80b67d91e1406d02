"""A world of pods in memory: a control plane, machines, links, a clock, and whatever can go wrong with each of them.

It stands where `provider`, `pods.remote` and the listener stand, so that thousands of lives can be lived in a minute.
The real control plane, sshd and supervisor have tests of their own.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.pods import creating, ending, keys, life, remote, watching
from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    BadHost,
    HostChanged,
    LinkLost,
    LoginRefused,
    NoCapacity,
    NotOffered,
    OrderRefused,
    OutOfFunds,
    PodLost,
    TransferError,
    Uncertain,
)
from bizcharts_pipeline.pods.identity import installation_id
from bizcharts_pipeline.pods.ledger import LEDGER, PodLedger
from bizcharts_pipeline.pods.life import run_job
from bizcharts_pipeline.pods.local_disk import storing
from bizcharts_pipeline.pods.names import pod_name
from bizcharts_pipeline.pods.protocol import Address, Candidate, Finished, Job, Order, Pod, PodStatus, State
from bizcharts_pipeline.pods.remote import Exit, HostFacts, Poll
from bizcharts_pipeline.pods.transport import CommandFailed
from bizcharts_pipeline.settings import PodSettings

START = datetime(2026, 11, 3, 12)
KEY = "0123456789ab"
PRICE = Decimal("0.36")
SETTINGS = PodSettings(gpus=("A", "B"), clouds=("COMMUNITY", "SECURE"), max_hours=4, poll_seconds=30)


class Killed(BaseException):
    """The orchestrator's process ends here, without another word."""


@dataclass
class Machine:
    """A pod, as it really is."""

    pod: Pod
    created_at: datetime
    ttl: timedelta
    public_key: str
    seen_from: datetime  # the control plane lists it from then on
    known_from: datetime  # and finds it by its id from then on
    boots_at: datetime | None  # None: never
    price: Decimal = PRICE
    ended_at: datetime | None = None
    host_key: int = 0
    driver_too_old: bool = False
    launched: int = 0
    root: str | None = None
    resumed: bool = False
    polled_at: datetime | None = None
    lease: timedelta = timedelta(0)
    ends_at: datetime | None = None
    exit: Exit | None = None
    log: bytes = b""
    supervised: bool = True
    collected: bool = False
    terminated: bool = False


@dataclass
class World:
    """Everything outside the process under test. ``rate`` is how often a call goes wrong in one of its ways."""

    home: Path
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    rate: float = 0.0
    kill_rate: float = 0.0
    clock: datetime = START
    machines: list[Machine] = field(default_factory=list)
    # What is to happen, for tests that say so themselves.
    create: list[Callable[["World", Order], Pod]] = field(default_factory=list)
    boot_seconds: float | None = 60
    job_seconds: float = 3_600
    exit: tuple[int | None, str] = (0, "exited")
    prices: dict[str, Decimal | None] = field(default_factory=dict)
    charges: dict[str, Decimal] = field(default_factory=dict)  # by GPU, where it is not what is listed
    not_offered: frozenset[str] = frozenset()  # GPUs that are missing in the catalogue
    denials: int = 0  # so many questions for one pod are refused
    accepts_unknown: bool = False  # a request to end a pod that is not found yet is accepted, and nothing happens
    hidden_seconds: float = 0  # a new pod is not listed for so long
    unknown_seconds: float = 0  # nor found by its id for so long
    machine_names: list[str] = field(default_factory=list)
    bad_machines: set[str] = field(default_factory=set)
    before: Callable[[str], None] = lambda what: None  # called with each call's name
    talks: bool = True
    link_down: bool = False
    # What happened.
    calls: list[str] = field(default_factory=list)
    orders: list[Candidate] = field(default_factory=list)
    told: list[tuple[State, str]] = field(default_factory=list)
    heard_log: bytes = b""
    killed: bool = False
    stop: bool = False
    doubles: list[str] = field(default_factory=list)
    name: str = "world"

    # Time.

    def now(self) -> datetime:
        if self.killed:
            raise Killed
        return self.clock

    def sleep(self, seconds: float) -> None:
        with self.call("sleep"):
            self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)
        for machine in self.alive():
            if machine.ends_at and self.clock >= machine.ends_at and machine.exit is None and machine.supervised:
                machine.exit = Exit(*self.exit, machine.ends_at)
                machine.log += b"the last line\n"
            own_end = machine.created_at + machine.ttl
            if machine.polled_at:
                own_end = min(own_end, machine.polled_at + machine.lease)
            if self.clock > own_end:
                machine.ended_at = own_end
            elif self.chance.random() < self.rate / 20:
                machine.ended_at = self.clock  # the host dies
            elif self.chance.random() < self.rate / 20:
                machine.host_key += 1  # the container is reset
                machine.launched, machine.root = 0, None
            elif machine.launched and self.chance.random() < self.rate / 20:
                machine.supervised = False  # its supervisor is killed

    def alive(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.ended_at is None]

    def bill(self) -> Decimal:
        """What the control plane will ask for, exactly."""
        return sum((self.bill_of(machine) for machine in self.machines), Decimal(0))

    def bill_of(self, machine: Machine) -> Decimal:
        return self._price_since(machine, machine.created_at)

    def seen_bill_of(self, machine: Machine) -> Decimal:
        """Of the time in which it could be known that the pod exists."""
        return self._price_since(machine, machine.seen_from)

    def _price_since(self, machine: Machine, since: datetime) -> Decimal:
        life = (machine.ended_at or self.clock) - since
        return machine.price * Decimal(repr(max(life.total_seconds(), 0.0))) / 3600

    @contextmanager
    def call(self, what: str, *faults: Exception) -> Iterator[None]:
        """One call out of the process: it may end the process, before or after it took effect, or go wrong so."""
        if self.killed:
            raise Killed
        self.calls.append(what)
        self.before(what)
        self._maybe_kill()
        lands = self.chance.random() < 0.5
        fault = self.chance.choice(faults) if faults and self.chance.random() < self.rate else None
        if fault is not None and not (lands and isinstance(fault, Uncertain | LinkLost | TransferError)):
            raise fault
        yield
        self._maybe_kill()
        if fault is not None:
            raise fault

    def _maybe_kill(self) -> None:
        if self.chance.random() < self.kill_rate:
            self.killed = True
            raise Killed

    # The control plane.

    def usd_per_hour(self, candidate: Candidate) -> Decimal | None:
        if candidate.gpu in self.not_offered:
            raise NotOffered(f"there is no GPU {candidate.gpu!r}")
        with self.call("usd_per_hour", Uncertain("no answer")):
            return self.prices.get(candidate.gpu, PRICE)

    def create_pod(self, order: Order, *, hidden_seconds: float = 0, told_price: Decimal | None = PRICE) -> Pod:
        """Bring a pod into being."""
        hidden_seconds = hidden_seconds or self.hidden_seconds
        if [machine for machine in self.alive() if self.clock >= machine.seen_from]:
            self.doubles.append(f"{order.name} at {self.clock}")
        number = len(self.machines)
        machine_name = self.machine_names.pop(0) if self.machine_names else f"m{number}"
        gpu = order.candidate.gpu
        charge = self.charges.get(gpu, PRICE)
        told = charge if told_price == PRICE else told_price
        pod = Pod(f"p{number}", order.name, PodStatus.RUNNING, None, gpu, told, machine_name)
        boot = self.boot_seconds
        if self.rate and self.chance.random() < self.rate:
            boot = None
        self.machines.append(
            Machine(
                pod,
                self.clock,
                timedelta(seconds=int(order.environment["BIZCHARTS_TTL_SECONDS"])),
                order.environment["PUBLIC_KEY"],
                self.clock + timedelta(seconds=hidden_seconds),
                self.clock + timedelta(seconds=self.unknown_seconds),
                None if boot is None else self.clock + timedelta(seconds=boot),
                charge,
                driver_too_old=machine_name in self.bad_machines or self.chance.random() < self.rate,
            )
        )
        return pod

    def find(self, prefix: str) -> list[Pod]:
        with self.call("find", Uncertain("no answer")):
            listed = [machine for machine in self.machines if self.clock >= machine.seen_from]
            return [self._said(m) for m in listed if m.pod.name.startswith(prefix) and m.ended_at is None]

    def get(self, pod_id: str) -> Pod | None:
        if self.denials > 0:
            self.denials -= 1
            raise AccessDenied("401")
        with self.call("get", Uncertain("no answer"), Uncertain("no JSON")):
            machine = self.machine(pod_id)
            return None if machine.ended_at or self.clock < machine.known_from else self._said(machine)

    def terminate(self, pod_id: str) -> bool:
        with self.call("terminate", Uncertain("no answer"), AccessDenied("the key was withdrawn")):
            machine = self.machine(pod_id)
            if machine.ended_at is None and self.clock < machine.known_from:
                return self.accepts_unknown
            if machine.ended_at is not None:
                return False
            machine.terminated, machine.ended_at = True, self.clock
            return True

    def transport(self, pod: Pod, folder: Path) -> "Link":
        return Link(self, self.machine(pod.pod_id), folder)

    def machine(self, pod_id: str) -> Machine:
        return next(machine for machine in self.machines if machine.pod.pod_id == pod_id)

    def _said(self, machine: Machine) -> Pod:
        up = machine.boots_at is not None and self.clock >= machine.boots_at
        address = Address("192.0.2.1", 1000 + len(self.machines), "root") if up else None
        pod = machine.pod
        return Pod(pod.pod_id, pod.name, PodStatus.RUNNING, address, pod.gpu, machine.price, pod.machine)

    # The listener.

    def state(self, state: State, detail: str) -> None:
        with self.call("state"):
            self.told.append((state, detail))

    def log(self, chunk: bytes) -> None:
        with self.call("log"):
            self.heard_log += chunk

    def messages(self, chunk: bytes) -> None:
        with self.call("messages"):
            pass

    def cancelled(self) -> bool:
        return self.stop

    # The process under test.

    @property
    def pod_name(self) -> str:
        """Of the pods of the job `a_job`."""
        return self.name_of(KEY)

    def name_of(self, key: str) -> str:
        return pod_name("bizcharts", installation_id(self.ledger.path.parent), key)

    @property
    def ledger(self) -> PodLedger:
        return PodLedger(self.home / LEDGER)

    def run(
        self, into: Path | None = None, settings: PodSettings = SETTINGS, job: Job | None = None, run_id: str = "run"
    ) -> Finished:
        """Run the job in a new process, so to say."""
        self.killed = False
        return run_job(
            job or a_job(),
            Control(self),
            self.ledger,
            settings,
            self,
            into or self.home / "result",
            self.now,
            self.sleep,
            run_id=run_id,
        )


@dataclass
class Control:
    """The control plane's side of a world: a `Provider`."""

    world: World
    name: str = "world"

    def create(self, order: Order) -> Pod:
        world = self.world
        world.orders.append(order.candidate)
        if world.create:
            return world.create.pop(0)(world, order)
        if world.chance.random() < world.rate / 10:
            raise world.chance.choice([AccessDenied("no"), OutOfFunds("no money"), OrderRefused("no such GPU")])
        if world.chance.random() < world.rate:
            raise NoCapacity("no longer any instances available")
        if world.rate:
            world.hidden_seconds, world.unknown_seconds = (world.chance.choice([0, 0, 10, 35]) for _ in range(2))
        late = world.chance.choice([0, 0, 3, 40]) if world.rate and world.chance.random() < world.rate else 0
        if late:
            with world.call("create"):
                world.create_pod(order, hidden_seconds=late)
            raise Uncertain("500, and it lands later")
        with world.call("create", Uncertain("500"), Uncertain("no answer in 30 s")):
            return world.create_pod(order)

    def __getattr__(self, name: str) -> object:
        return getattr(self.world, name)


@dataclass
class Link:
    """The way to a machine, and what `pods.remote` does over it."""

    world: World
    machine: Machine
    keys: Path

    @contextmanager
    def up(self, what: str) -> Iterator[Machine]:
        """A command on the machine."""
        pinned = self.keys / "pinned"
        with self.world.call(what, LinkLost("timed out"), LoginRefused("denied")):
            if self.machine.ended_at is not None or self.world.link_down:
                raise LinkLost("nobody answers")
            if not (self.keys / "id_ed25519").exists() or self.machine.public_key != self.keys.name + _key(self.keys):
                raise LoginRefused("publickey")
            if pinned.exists() and pinned.read_text() != f"{self.machine.pod.pod_id} {self.machine.host_key}":
                raise HostChanged("REMOTE HOST IDENTIFICATION HAS CHANGED")
            pinned.write_text(f"{self.machine.pod.pod_id} {self.machine.host_key}")
            yield self.machine

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        with self.up("login"):
            return b""


class Remote:
    """`pods.remote` for machines of a world."""

    SALVAGED = "checkpoint"
    discard = staticmethod(remote.discard)

    def preflight(self, link: Link, *, needs_gpu: bool, least_disk_gb: int, cuda: tuple[str, ...]) -> HostFacts:
        with link.up("preflight") as machine:
            if machine.driver_too_old:
                raise BadHost("the driver is too old")
            return HostFacts("/workspace", machine.pod.gpu, "570", 100.0, True)

    def stage(self, link: Link, root: str, job: Job, resume: Path | None, progress: Callable[[], None]) -> None:
        with link.up("stage") as machine:
            machine.root, machine.resumed = root, resume is not None
            if link.world.chance.random() < link.world.rate:
                raise TransferError("half of it arrived")

    def launch(
        self, link: Link, root: str, job: Job, *, python: str, max_runtime_seconds: float, lease_seconds: float
    ) -> None:
        with link.up("launch") as machine:
            assert machine.root == root
            if not machine.launched:
                machine.launched = 1
                machine.polled_at = link.world.clock
                machine.lease = timedelta(seconds=lease_seconds)
                machine.ends_at = link.world.clock + timedelta(seconds=link.world.job_seconds)
                machine.log = b"the first line\n"

    def poll(self, link: Link, root: str, messages_offset: int, log_offset: int) -> Poll:
        with link.up("poll") as machine:
            if machine.root != root:
                raise PodLost("the job's folder is gone")
            machine.polled_at = link.world.clock
            if machine.exit is None and link.world.talks:
                machine.log += b"."
            return Poll(b"", machine.log[log_offset:], machine.exit, machine.supervised and not machine.exit, None)

    def cancel(self, link: Link, root: str) -> None:
        with link.up("cancel"):
            pass

    def collect(self, link: Link, root: str, result: str, into: Path, progress: Callable[[], None]) -> None:
        with link.up("collect") as machine:
            assert machine.exit is not None
            assert machine.exit.code == 0
            if link.world.chance.random() < link.world.rate:
                raise TransferError("a hash is wrong")
            if link.world.chance.random() < link.world.rate / 10:
                raise CommandFailed("cat manifest.json", 1, "no such file")
            with storing(into):
                write_atomically(into / "verified", machine.pod.pod_id.encode())

    def confirm(self, link: Link, root: str) -> None:
        with link.up("confirm") as machine:
            machine.collected = True

    def fetch_checkpoint(self, link: Link, root: str, into: Path, progress: Callable[[], None]) -> bool:
        with link.up("checkpoint"), storing(into):
            into.mkdir(parents=True, exist_ok=True)
            (into / "trainer_state.json").write_text("{}")
            return True

    def salvage(self, link: Link, root: str, into: Path, *_: object) -> None:
        (into / self.SALVAGED).mkdir(parents=True, exist_ok=True)
        (into / self.SALVAGED / "trainer_state.json").write_text("{}")


def a_job() -> Job:
    return Job(KEY, {}, None, ("{python}", "train.py"), {})


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the life of a pod speak to worlds: no ssh, no key generator."""
    for module in (life, watching):
        monkeypatch.setattr(module, "remote", Remote())
    count = iter(range(1_000_000))

    def make_keys(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "id_ed25519").exists():
            (folder / "id_ed25519").write_text(f"{next(count)}")
        return folder.name + _key(folder)

    def remove_keys(folder: Path) -> None:
        for name in ("id_ed25519", "pinned"):
            (folder / name).unlink(missing_ok=True)

    for module in (creating, ending):
        assert module.keys is keys
    monkeypatch.setattr(keys, "make_keys", make_keys)
    monkeypatch.setattr(keys, "remove_keys", remove_keys)


def _key(folder: Path) -> str:
    return (folder / "id_ed25519").read_text()
