"""A simulated pod: a folder with a real sshd and the order's real guard, behind a public port."""

import json
import os
import random
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from bizcharts_pipeline.demo.pods.faults import OF_HOST, Chance, PodFault
from bizcharts_pipeline.demo.pods.host import Host, install_programs
from bizcharts_pipeline.demo.pods.link import Break, PublicPort, drawn_break
from bizcharts_pipeline.demo.pods.processes import MARKER, kill_processes
from bizcharts_pipeline.demo.pods.sshd import Sshd, start_sshd
from bizcharts_pipeline.pods.protocol import PUBLIC_KEY

GUARD_ONLY = "BIZCHARTS_GUARD_ONLY"  # for the order's start command: arm the guard without starting the image
_HOSTS: dict[PodFault, Host] = {
    PodFault.NO_GPU: "no gpu",
    PodFault.OLD_DRIVER: "old driver",
    PodFault.DISK_FULL: "disk full",
}
_ENDS = (PodFault.CONTAINER_RESET, PodFault.POD_KILLED, PodFault.POD_EXITED)


@dataclass(frozen=True)
class PodOrder:
    """An order as received through either API."""

    name: str
    image: str
    gpu: str  # id
    cloud: str
    data_center: str | None
    disk_gb: int
    ports: tuple[str, ...]
    start_command: str
    environment: Mapping[str, str] = field(repr=False)


class Phase(Enum):
    """Phase of a pod's life; it determines the reported status."""

    PLACED = "placed"  # desired to run, but without a container
    STARTED = "started"  # without a port
    PUBLISHED = "published"
    EXITED = "exited"


@dataclass(frozen=True)
class _Fate:
    boot_seconds: float | None  # None: never
    dead: bool
    host: Host
    events: tuple[tuple[float, PodFault], ...]  # seconds after the boot, in order
    stale: bool


class Machine:
    """One pod. ``vanished`` is set when it ended without a request.

    Its processes carry its id in their environment; :meth:`end` kills them all and removes the folder.
    """

    def __init__(self, folder: Path, pod_id: str, pod_key: str, order: PodOrder, control_url: str, chance: Chance):
        self.folder = folder
        self.pod_id = pod_id
        self.pod_key = pod_key
        self.order = order
        self.phase = Phase.PLACED
        self.vanished = threading.Event()
        self.boots = 0
        self._control_url = control_url
        self._chance = chance
        self._fate = _draw(chance, order.name)
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._sshd: Sshd | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._port: PublicPort | None = None
        self._reported_port: int | None = None
        threading.Thread(target=self._live, daemon=True).start()

    @property
    def workspace(self) -> Path:
        """Folder of the simulated pod's jobs."""
        return self.folder / "workspace"

    @property
    def reported_port(self) -> int | None:
        """The port of the simulated pod's sshd as reported by the control plane, possibly an old one."""
        return self._reported_port if self.phase in (Phase.PUBLISHED, Phase.EXITED) else None

    def end(self) -> None:
        """Kill every process of the simulated pod and remove its folder; idempotent."""
        self._stopped.set()
        with self._lock:
            self._stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def vanish(self) -> None:
        """Let the simulated pod disappear without a request, as when the host dies."""
        self.vanished.set()
        self.end()

    def exit(self) -> None:
        """Stop the simulated pod, but let it stay in the list."""
        self._stopped.set()
        with self._lock:
            self.phase = Phase.EXITED
            self._stop()

    def reset(self) -> None:
        """Restart the simulated pod's container: with another host key and port, an empty folder, and the guard armed
        again."""
        with self._lock:
            if self._stopped.is_set():
                return
            self._stop()
            shutil.rmtree(self.workspace, ignore_errors=True)
            self._boot()
            self._reach()
        if not self._fate.stale or not self._stopped.wait(self._chance.faults.stale_seconds):
            self._report_port()

    def _live(self) -> None:
        fate, wait = self._fate, self._stopped.wait
        if fate.boot_seconds is None or wait(fate.boot_seconds / 2):
            return
        with self._lock:
            if self._stopped.is_set():
                return
            self._boot()
            self._report_port()
            self.phase = Phase.STARTED
        if wait(fate.boot_seconds / 4):
            return
        with self._lock:
            if self._stopped.is_set():
                return
            self.phase = Phase.PUBLISHED
        if wait(fate.boot_seconds / 4):
            return
        with self._lock:
            if self._stopped.is_set():
                return
            self._reach()
        passed = 0.0
        for seconds, event in fate.events:
            if wait(seconds - passed):
                return
            passed = seconds
            {PodFault.CONTAINER_RESET: self.reset, PodFault.POD_KILLED: self.vanish, PodFault.POD_EXITED: self.exit}[
                event
            ]()

    def _boot(self) -> None:
        """Start the container's processes, and reserve a port that does not answer yet."""
        self.boots += 1
        self.workspace.mkdir(parents=True, exist_ok=True)
        programs = self.folder / "bin"
        install_programs(programs, self._fate.host, self.order.gpu)
        home = self.folder / "home"  # otherwise each session would run the start-up files of the user's shell
        home.mkdir(exist_ok=True)
        session = {
            "HOME": str(home),
            "BIZCHARTS_WORKSPACE": str(self.workspace),
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            MARKER: self.pod_id,
        }
        self._sshd = start_sshd(self.folder / f"sshd-{self.boots}", self.order.environment.get(PUBLIC_KEY, ""), session)
        self._start_guard(session)
        self._port = PublicPort(self._break_of_connection, self._chance.faults.link_bytes_per_second)

    def _report_port(self) -> None:
        self._reported_port = self._port.number if self._port else None

    def _reach(self) -> None:
        assert self._port is not None
        self._port.open(None if self._fate.dead or self._sshd is None else self._sshd.port)

    def _start_guard(self, session: Mapping[str, str]) -> None:
        """Run the order's start command as the container's first process, with the pod's own key.

        The guard's file for the supervisor is written here too, as the guard may be slow.
        """
        known = {"pod_id": self.pod_id, "api_key": self.pod_key, "control_url": self._control_url}
        file = self.workspace / ".bizcharts-pod.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(known))
        if not self.order.start_command:
            return
        environment = {
            "LANG": "C.UTF-8",
            **self.order.environment,
            **session,
            "RUNPOD_POD_ID": self.pod_id,
            "RUNPOD_API_KEY": self.pod_key,
            GUARD_ONLY: "1",
        }
        with (self.folder / "guard.log").open("ab") as log:
            try:
                self._guard = subprocess.Popen(
                    shlex.split(self.order.start_command),
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:  # a command that a container could not start either
                log.write(f"{error}\n".encode())

    def _stop(self) -> None:
        """Kill the container's processes and close its port."""
        if self._port is not None:
            self._port.close()
        processes = [each for each in (self._sshd and self._sshd.process, self._guard) if each]
        kill_processes(self.pod_id, [process.pid for process in processes])
        for process in processes:
            process.wait()
        self._sshd = self._guard = None

    def _break_of_connection(self) -> tuple[Break, int] | None:
        name = self.order.name
        for fault, how in ((PodFault.LINK_DROPPED, Break.RESET), (PodFault.LINK_STALLED, Break.STALL)):
            if self._chance.meets(fault, name):
                return drawn_break(how, self._chance.faults.link_bytes, self._chance.random(f"bytes {name}"))
        return None


def _draw(chance: Chance, name: str) -> _Fate:
    """Draw the faults of a pod."""
    faults = chance.faults
    boot: float | None = faults.boot_seconds
    if chance.meets(PodFault.SLOW_BOOT, name):
        boot = faults.slow_boot_seconds
    if chance.meets(PodFault.BOOT_NEVER, name):
        boot = None
    when: random.Random = chance.random(f"events {name}")
    events = tuple(sorted((when.uniform(*faults.event_seconds), end) for end in _ENDS if chance.meets(end, name)))
    host: Host = next((_HOSTS[fault] for fault in OF_HOST if chance.meets(fault, name)), "good")
    dead = chance.meets(PodFault.DEAD_HOST, name)
    return _Fate(boot, dead, host, events, chance.meets(PodFault.STALE_PORTS, name))
