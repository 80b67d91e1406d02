"""What can go wrong with a rented pod and with those who rent it out, by chance or as a test wants it."""

import random
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class PodFault(StrEnum):
    """What can go wrong; the values are the names of :class:`PodFaults`' probabilities."""

    # An order. Whatever its answer says, "lands", "hangs" and "late" leave a pod that costs.
    NO_CAPACITY = "no_capacity"
    CREATE_FAILS = "create_fails"
    CREATE_LANDS = "create_lands"
    CREATE_HANGS = "create_hangs"
    CREATE_LATE = "create_late"  # answered with 500, and carried out `late_seconds` later
    # A pod, from its creation on.
    LATE_GET = "late_get"  # it is not found by its id for `lag_seconds`, nor ended
    LATE_LIST = "late_list"  # it is not listed for `lag_seconds`
    DEARER = "dearer"  # it is charged `dearer_by` times what is listed
    SLOW_BOOT = "slow_boot"
    BOOT_NEVER = "boot_never"
    DEAD_HOST = "dead_host"  # its port takes connections and says nothing
    NO_GPU = "no_gpu"
    OLD_DRIVER = "old_driver"
    DISK_FULL = "disk_full"
    # A pod that was reached.
    LINK_DROPPED = "link_dropped"  # a connection is reset after some bytes
    LINK_STALLED = "link_stalled"  # a connection goes silent after some bytes
    POD_KILLED = "pod_killed"  # it vanishes from the list, too
    POD_EXITED = "pod_exited"  # it stays in the list
    CONTAINER_RESET = "container_reset"  # new host key, new port, empty folder
    STALE_PORTS = "stale_ports"  # after a reset the old port is told for a while
    # A request, whatever it is for; by chance several in a row meet the same.
    API_429 = "api_429"
    API_500 = "api_500"
    API_401 = "api_401"
    API_410 = "api_410"
    # A request to end a pod.
    TERMINATE_LANDS = "terminate_lands"  # answered with 500, and done
    TERMINATE_FAILS = "terminate_fails"  # answered with 500


OF_API = (PodFault.API_429, PodFault.API_500, PodFault.API_401, PodFault.API_410)
OF_HOST = (PodFault.NO_GPU, PodFault.OLD_DRIVER, PodFault.DISK_FULL)


@dataclass(frozen=True)
class PodFaults:
    """The probability of each fault, for one order, pod, connection or request; and how long things last."""

    seed: int = 0
    no_capacity: float = 0.0
    create_fails: float = 0.0
    create_lands: float = 0.0
    create_hangs: float = 0.0
    create_late: float = 0.0
    late_get: float = 0.0
    late_list: float = 0.0
    dearer: float = 0.0
    slow_boot: float = 0.0
    boot_never: float = 0.0
    dead_host: float = 0.0
    no_gpu: float = 0.0
    old_driver: float = 0.0
    disk_full: float = 0.0
    link_dropped: float = 0.0
    link_stalled: float = 0.0
    pod_killed: float = 0.0
    pod_exited: float = 0.0
    container_reset: float = 0.0
    stale_ports: float = 0.0
    api_429: float = 0.0
    api_500: float = 0.0
    api_401: float = 0.0
    api_410: float = 0.0
    terminate_lands: float = 0.0
    terminate_fails: float = 0.0
    boot_seconds: float = 0.4  # of a healthy pod, until its sshd answers
    slow_boot_seconds: float = 5.0
    event_seconds: tuple[float, float] = (0.5, 8.0)  # after the boot, a pod is killed or reset
    link_bytes: tuple[int, int] = (0, 300_000)  # before a connection is dropped or stalls
    link_bytes_per_second: float | None = None  # of each connection, both ways together; None: no limit
    stale_seconds: float = 2.0
    hang_seconds: float = 1.0  # then the connection is closed without an answer
    spell_requests: int = 3  # in a row
    lag_seconds: tuple[float, float] = (1.0, 35.0)  # until a new pod is shown; each way to ask has its own
    late_seconds: tuple[float, float] = (8.0, 35.0)  # until an order is carried out that seemed to fail
    dearer_by: float = 1.5
    page_pods: int = 100  # on one page of REST's list


class Chance:
    """Draws faults: the same names in any order meet the same faults. Used by many threads at once."""

    def __init__(self, faults: PodFaults) -> None:
        self.faults = faults
        self._lock = threading.Lock()
        self._scripted: Counter[PodFault] = Counter()
        self._draws: Counter[str] = Counter()

    def fail_next(self, *faults: PodFault | str) -> None:
        """Let the next orders, pods, connections or requests, whichever each is of, meet these."""
        with self._lock:
            self._scripted.update(PodFault(fault) for fault in faults)

    def meets(self, fault: PodFault, name: str) -> bool:
        """Draw whether what bears ``name`` meets ``fault`` this time."""
        return self.scripted(fault) or self.drawn(fault, name)

    def scripted(self, fault: PodFault) -> bool:
        """Return whether a test wants the fault now, and take that wish as fulfilled."""
        with self._lock:
            if self._scripted[fault] <= 0:
                return False
            self._scripted[fault] -= 1
            return True

    def drawn(self, fault: PodFault, name: str) -> bool:
        """Draw by chance alone."""
        rate = float(getattr(self.faults, fault.value))
        return rate > 0 and self.random(f"{fault.value} {name}").random() < rate

    def random(self, name: str) -> random.Random:
        """Return the generator of the next draw under ``name``."""
        with self._lock:
            self._draws[name] += 1
            return random.Random(f"{self.faults.seed} {name} {self._draws[name]}")
