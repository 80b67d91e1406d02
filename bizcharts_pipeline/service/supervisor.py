"""Supervisor of child processes: restarts them with back-off, and lets none outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0  # after this lifetime, a child's back-off is reset
STOP_SECONDS = 8.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.2
PROBE_EVERY_SECONDS = 60.0
MOST_FAILED_PROBES = 3
_PR_SET_PDEATHSIG = 1
_STDERR = 2  # file descriptor


@dataclass
class Child:
    """A supervised program, and its current process."""

    name: str
    command: Sequence[str]
    needs: Path | None = None  # started only once this exists, which another child creates
    may_run: Callable[[], bool] = lambda: True  # asked a few times a second; it is stopped while this returns false
    probe: Sequence[str] | None = None  # a command that fails while it does not work; some failures in a row kill it
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # on the monotonic clock, as all times here
    start_at: float = 0.0  # earliest time of the next start
    failures: int = 0  # consecutive
    probing: subprocess.Popen[bytes] | None = None
    probe_at: float = 0.0  # earliest time of the next probe
    failed_probes: int = 0  # consecutive


@dataclass
class Supervisor:
    """Keeps ``children`` running until SIGTERM or SIGINT.

    Children are started by the main thread, each in its own process group. The kernel terminates them when this process
    ends for any reason (Linux; elsewhere, they survive a SIGKILL of the supervisor).

    Args:
        say: takes one line for the log.
        each_round: called a few times a second; must return quickly.
    """

    children: Sequence[Child]
    environment: Mapping[str, str]
    folder: Path
    say: Callable[[str], object]
    each_round: Callable[[], object] = lambda: None
    clock: Callable[[], float] = time.monotonic
    _stopping: bool = field(default=False, init=False)

    def run(self) -> None:
        """Start the service's processes, supervise them, and stop them all at the end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                self.check_children()
                self.each_round()
                time.sleep(POLL_SECONDS)
        finally:
            self.stop()

    def check_children(self) -> None:
        """Record the service's processes that ended, and start those that are due."""
        for child in self.children:
            if child.process is not None and (status := child.process.poll()) is not None:
                self._ended(child, status)
            there = child.needs is None or child.needs.exists()
            may_run = child.may_run()
            if child.process is None and there and may_run and self.clock() >= child.start_at:
                self._start(child)
            elif child.process is not None and not may_run:
                _signal(child, signal.SIGTERM)
            elif child.process is not None and child.probe is not None:
                self._look_at(child)

    def stop(self) -> None:
        """Stop every process of the service with SIGTERM, and the remaining ones with SIGKILL."""
        living = [child for child in self.children if child.process is not None]
        for child in living:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in living:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} did not stop in time; killed")
            # Also its own children, which may have outlived it.
            _signal(child, signal.SIGKILL)
            child.process.wait()
            child.process = None

    def _start(self, child: Child) -> None:
        child.process = self._popen(child.command)
        child.started_at = self.clock()
        child.probe_at, child.failed_probes = child.started_at + PROBE_EVERY_SECONDS, 0

    def _popen(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,  # Dagster writes errors of sensors to stdout; the service has one log
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),
        )

    def _look_at(self, child: Child) -> None:
        """Start the child's probe when it is due, and kill the child once its probe has failed some times in a row."""
        assert child.probe is not None
        if child.probing is None:
            if self.clock() >= child.probe_at:
                child.probing = self._popen(child.probe)
            return
        if (status := child.probing.poll()) is None:
            return
        child.probing, child.probe_at = None, self.clock() + PROBE_EVERY_SECONDS
        child.failed_probes = child.failed_probes + 1 if status else 0
        if child.failed_probes >= MOST_FAILED_PROBES:
            child.failed_probes = 0
            self.say(f"{child.name} does not answer any more; killed")
            _signal(child, signal.SIGKILL)

    def _ended(self, child: Child, status: int) -> None:
        _signal(child, signal.SIGKILL)
        child.process = None
        if not child.may_run():
            child.failures = 0
            self.say(f"{child.name} stopped")
            return
        child.failures = 1 if self.clock() - child.started_at >= STEADY_SECONDS else child.failures + 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (child.failures - 1), LONGEST_PAUSE_SECONDS)
        child.start_at = self.clock() + pause
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self.say(f"{child.name} ended ({how}); restarting in {pause:.0f} s")

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True


def _signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child's process group, if it still exists."""
    assert child.process is not None
    try:
        os.killpg(child.process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS reports the latter for a group of zombies
        return


def _end_with(parent: int) -> Callable[[], None]:
    """Return a ``preexec_fn`` that makes the kernel kill the child together with ``parent``.

    SIGTERM would not do: the code server waits for its runs, and nobody would be left to kill it.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl took effect
            os._exit(1)

    return ask
