"""The simulated account: its pods, shared by both APIs, and its bill."""

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.demo.pods.billing import OFFERS, Charge, GpuOffer, PodBill, begun_seconds
from bizcharts_pipeline.demo.pods.faults import Chance, PodFault
from bizcharts_pipeline.demo.pods.machine import Machine, Phase, PodOrder

DATA_CENTERS = ("EU-RO-1", "US-TX-3", "EUR-IS-1")
HOST = "127.0.0.1"


@dataclass
class RentedPod:
    """A pod of the account. Times are of the monotonic clock, except ``created_at`` (UTC)."""

    machine: Machine
    machine_id: str  # the host's id
    price: Decimal  # actual price per hour
    offer: GpuOffer
    created_at: datetime
    born: float
    found_from: float  # from then on, it can be fetched and terminated by its id
    listed_from: float
    ended: float | None = None

    @property
    def pod_id(self) -> str:
        return self.machine.pod_id

    @property
    def usd_per_hour(self) -> float:
        return float(self.price)

    @property
    def order(self) -> PodOrder:
        return self.machine.order

    @property
    def phase(self) -> Phase:
        return self.machine.phase

    @property
    def port(self) -> int | None:
        """The published port of the simulated pod's sshd, if known."""
        return self.machine.reported_port

    @property
    def is_listed(self) -> bool:
        return self.ended is None or self.phase is Phase.EXITED


class Cloud:
    """The account; thread-safe.

    Attributes:
        account_key: the key with all permissions.
        chance: the faults.
        orders: all executed orders, in order of arrival.
    """

    def __init__(self, folder: Path, account_key: str, chance: Chance) -> None:
        self.account_key = account_key
        self.chance = chance
        self.orders: list[PodOrder] = []
        self.url = ""  # of the control plane, once it is listening
        self._folder = folder
        self._lock = threading.Lock()
        self._pods: dict[str, RentedPod] = {}
        self._terminated: set[str] = set()

    def create(self, order: PodOrder) -> RentedPod:
        """Create a simulated pod from a valid order."""
        offer = next(offer for offer in OFFERS if offer.gpu == order.gpu)
        price = offer.usd_per_hour(order.cloud)
        assert price is not None
        pod_id = secrets.token_hex(7)
        folder = self._folder / pod_id
        folder.mkdir(parents=True)
        machine = Machine(folder, pod_id, f"pod-{secrets.token_hex(12)}", order, self.url, self.chance)
        now, born = datetime.now(UTC).replace(microsecond=0), time.monotonic()
        if self.chance.meets(PodFault.DEARER, order.name):
            price *= Decimal(str(self.chance.faults.dearer_by))
        found_from = born + self._lag(PodFault.LATE_GET, order.name)
        listed_from = born + self._lag(PodFault.LATE_LIST, order.name)
        pod = RentedPod(machine, secrets.token_hex(4), price, offer, now, born, found_from, listed_from)
        with self._lock:
            self._pods[pod_id] = pod
            self.orders.append(order)
        return pod

    def get(self, pod_id: str) -> RentedPod | None:
        """Return a simulated pod, if it is visible."""
        with self._lock:
            pod = self._pods.get(pod_id)
            self._settle(pod)
            shown = pod is not None and self._is_listed(pod) and time.monotonic() >= pod.found_from
            return pod if shown else None

    def pods(self) -> list[RentedPod]:
        """Return the simulated pods that are listed, in the order of their creation."""
        now = time.monotonic()
        with self._lock:
            for pod in self._pods.values():
                self._settle(pod)
            return [pod for pod in self._pods.values() if self._is_listed(pod) and now >= pod.listed_from]

    def terminate(self, pod_id: str) -> bool:
        """Terminate a simulated pod with its processes and its billing; return whether it existed."""
        pod = self.get(pod_id)
        if pod is None:
            return False
        with self._lock:
            pod.ended = pod.ended or time.monotonic()
            self._terminated.add(pod_id)
        pod.machine.end()
        return True

    def vanish(self, pod_id: str) -> None:
        """Make a simulated pod disappear without a request."""
        if (pod := self.get(pod_id)) is not None:
            pod.machine.vanish()

    def owner_of(self, key: str) -> str | None:
        """Return the id of the simulated pod with this pod key."""
        with self._lock:
            for pod in self._pods.values():
                if secrets.compare_digest(pod.machine.pod_key.encode(), key.encode()):
                    return pod.pod_id
        return None

    def bill(self) -> PodBill:
        """Return the charges of all simulated pods so far."""
        with self._lock:
            for pod in self._pods.values():
                self._settle(pod)
            return PodBill(tuple(_charge(pod) for pod in self._pods.values()))

    def close(self) -> None:
        """Terminate every simulated pod."""
        with self._lock:
            left = list(self._pods.values())
        for pod in left:
            if pod.ended is None:
                pod.ended = time.monotonic()
            pod.machine.end()

    def _lag(self, fault: PodFault, name: str) -> float:
        if not self.chance.meets(fault, name):
            return 0.0
        return self.chance.random(f"lag {fault.value} {name}").uniform(*self.chance.faults.lag_seconds)

    def _is_listed(self, pod: RentedPod) -> bool:
        return pod.pod_id not in self._terminated and not pod.machine.vanished.is_set()

    def _settle(self, pod: RentedPod | None) -> None:
        """Stop billing a pod that ended by itself; the disk of an exited pod is not billed here."""
        if pod is not None and pod.ended is None and (pod.machine.vanished.is_set() or pod.phase is Phase.EXITED):
            pod.ended = time.monotonic()


def _charge(pod: RentedPod) -> Charge:
    seconds = begun_seconds((time.monotonic() if pod.ended is None else pod.ended) - pod.born)
    return Charge(pod.pod_id, pod.order.name, pod.order.gpu, pod.order.cloud, pod.price, seconds, pod.ended is not None)
