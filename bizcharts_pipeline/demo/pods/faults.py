"""Faults of simulated pods and their control plane, random or scripted by a test."""

import random
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class PodFault(StrEnum):
    """A fault; the values are the names of the probabilities in :class:`PodFaults`."""

    # Of an order. With "lands", "hangs" and "late", a billed pod results whatever the response is.
    NO_CAPACITY = "no_capacity"
    CREATE_FAILS = "create_fails"
    CREATE_LANDS = "create_lands"
    CREATE_HANGS = "create_hangs"
    CREATE_LATE = "create_late"  # answered with 500, executed `late_seconds` later
    # Of a pod, from its creation on.
    LATE_GET = "late_get"  # for `lag_seconds`, it cannot be fetched or terminated by its id
    LATE_LIST = "late_list"  # for `lag_seconds`, it is not listed
    DEARER = "dearer"  # it costs `dearer_by` times the listed price
    SLOW_BOOT = "slow_boot"
    BOOT_NEVER = "boot_never"
    DEAD_HOST = "dead_host"  # its port accepts connections and sends nothing
    NO_GPU = "no_gpu"
    OLD_DRIVER = "old_driver"
    DISK_FULL = "disk_full"
    # Of a running pod.
    LINK_DROPPED = "link_dropped"  # a connection is reset after some bytes
    LINK_STALLED = "link_stalled"  # a connection stalls after some bytes
    POD_KILLED = "pod_killed"  # it disappears, also from the list
    POD_EXITED = "pod_exited"  # it stays in the list
    CONTAINER_RESET = "container_reset"  # new host key, new port, empty folder
    STALE_PORTS = "stale_ports"  # after a reset, the old port is reported for a while
    # Of any request; a random one affects several consecutive requests.
    API_429 = "api_429"
    API_500 = "api_500"
    API_401 = "api_401"
    API_410 = "api_410"
    # Of a termination request.
    TERMINATE_LANDS = "terminate_lands"  # answered with 500, but executed
    TERMINATE_FAILS = "terminate_fails"  # answered with 500, not executed
    # Of a request that puts a job into the queue of a serverless endpoint.
    RUN_FAILS = "run_fails"  # answered with 500, not executed
    RUN_LANDS = "run_lands"  # answered with 500, but executed
    RUN_HANGS = "run_hangs"  # executed; the connection is closed without an answer
    RUN_429 = "run_429"
    # Of a job.
    JOB_FAILS = "job_fails"  # its worker dies, and it has failed
    JOB_RETRIED = "job_retried"  # its worker dies, and another one takes it
    JOB_HANGS = "job_hangs"  # it runs into its time-out
    JOB_FORGOTTEN = "job_forgotten"  # its result is not kept
    SLOW_START = "slow_start"  # of its worker, if it starts one


OF_API = (PodFault.API_429, PodFault.API_500, PodFault.API_401, PodFault.API_410)
OF_RUN = (PodFault.RUN_FAILS, PodFault.RUN_LANDS, PodFault.RUN_HANGS, PodFault.RUN_429)
OF_HOST = (PodFault.NO_GPU, PodFault.OLD_DRIVER, PodFault.DISK_FULL)


@dataclass(frozen=True)
class PodFaults:
    """Probability of each fault, per order, pod, connection or request; and durations."""

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
    run_fails: float = 0.0
    run_lands: float = 0.0
    run_hangs: float = 0.0
    run_429: float = 0.0
    job_fails: float = 0.0
    job_retried: float = 0.0
    job_hangs: float = 0.0
    job_forgotten: float = 0.0
    slow_start: float = 0.0
    boot_seconds: float = 0.4  # of a healthy pod, until its sshd answers
    slow_boot_seconds: float = 5.0
    event_seconds: tuple[float, float] = (0.5, 8.0)  # after the boot, until a pod is killed or reset
    link_bytes: tuple[int, int] = (0, 300_000)  # until a connection is dropped or stalls
    link_bytes_per_second: float | None = None  # of each connection, both directions together; None: no limit
    stale_seconds: float = 2.0
    hang_seconds: float = 1.0  # then the connection is closed without an answer
    spell_requests: int = 3  # consecutive requests with the same random fault
    lag_seconds: tuple[float, float] = (1.0, 35.0)  # until a new pod is visible; drawn separately for each query
    late_seconds: tuple[float, float] = (8.0, 35.0)  # until a seemingly failed order is executed
    dearer_by: float = 1.5
    page_pods: int = 100  # per page of REST's list


class Chance:
    """Draws faults deterministically: the same names in any order get the same faults. Thread-safe."""

    def __init__(self, faults: PodFaults) -> None:
        self.faults = faults
        self._lock = threading.Lock()
        self._scripted: Counter[PodFault] = Counter()
        self._draws: Counter[str] = Counter()

    def fail_next(self, *faults: PodFault | str) -> None:
        """Apply these faults to the next simulated orders, pods, connections or requests, according to each fault's
        kind."""
        with self._lock:
            self._scripted.update(PodFault(fault) for fault in faults)

    def meets(self, fault: PodFault, name: str) -> bool:
        """Return whether the simulated pod or request ``name`` meets ``fault`` this time: scripted or random."""
        return self.scripted(fault) or self.drawn(fault, name)

    def scripted(self, fault: PodFault) -> bool:
        """Return whether ``fault`` is scripted for a simulated pod or request; if so, consume one occurrence."""
        with self._lock:
            if self._scripted[fault] <= 0:
                return False
            self._scripted[fault] -= 1
            return True

    def drawn(self, fault: PodFault, name: str) -> bool:
        """Return a random draw whether the simulated pod or request ``name`` meets ``fault``."""
        rate = float(getattr(self.faults, fault.value))
        return rate > 0 and self.random(f"{fault.value} {name}").random() < rate

    def random(self, name: str) -> random.Random:
        """Return the random generator of the next draw of a simulated fault under ``name``."""
        with self._lock:
            self._draws[name] += 1
            return random.Random(f"{self.faults.seed} {name} {self._draws[name]}")
