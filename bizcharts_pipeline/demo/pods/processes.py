"""Finds and kills the processes of a simulated pod, as there is no container that would end them.

A process carries its pod's id in its environment, which it inherits. The session processes of sshd hide theirs, so they
are found as children of the sshd; and a process that is just starting another program has none for a moment.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MARKER = "BIZCHARTS_DEMO_POD"
_PATIENCE_SECONDS = 10.0


def processes_of(pod_id: str, roots: Iterable[int] = ()) -> set[int]:
    """Return the ids of the processes that carry the simulated pod's id, of ``roots``, and of all their descendants."""
    marker = f"{MARKER}={pod_id}".encode()
    parents: dict[int, int] = {}
    found = set(roots)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            pid = int(folder.name)
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state == "Z":
                found.discard(pid)
                continue
            parents[pid] = int(parent)
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    found &= parents.keys()
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {os.getpid()}


def kill_processes(pod_id: str, roots: Iterable[int] = ()) -> None:
    """SIGKILL every process of a simulated pod, including those started meanwhile."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    roots = set(roots)
    while (alive := processes_of(pod_id, roots)) and time.monotonic() < deadline:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        roots = alive
        time.sleep(0.01)
