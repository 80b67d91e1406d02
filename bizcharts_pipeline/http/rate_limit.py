"""Rate limiter per host, shared by all threads and processes of this user on this machine.

A request may start ``seconds`` after the previous one *has arrived*: the sender keeps the host's file locked until the
response headers arrive. Reserving start times in advance is not enough: a process delayed by the scheduler would then
send right before the next one. The host's response time does not lower the rate unless it exceeds the interval: a
request counts as arrived a moment after its last byte was handed to the system, or when its response begins, whichever
is earlier; but only one request is in flight at a time. No process sleeps while it holds the lock, and the kernel
releases it when its holder dies. Linux and macOS (``flock``); not across machines.
"""

import fcntl
import json
import math
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only
from bizcharts_pipeline.core.private import UnsafeFolder, user_folder
from bizcharts_pipeline.http.errors import HostPaused, RateLimitFolderUnsafe, SourceUnreachable

LONGEST_POSTPONEMENT_SECONDS = 24 * 3600.0
# Time from the last byte sent until the request counts as arrived: slack for network and scheduler, and never less
# than a busy machine needs to wake a thread.
ARRIVAL_SHARE = 0.015
ARRIVAL_LEAST_SECONDS = 0.03
_LOCK_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class _State:
    """State of one host, shared by the processes."""

    started: float | None = None  # monotonic clock, which all processes of a machine share until it reboots
    postponed_at: float = 0.0  # wall clock: a pause demanded by the host outlives a reboot
    postponed_until: float = 0.0

    def wait(self, seconds: float, monotonic: float, wall: float) -> float:
        """Return the seconds until the next request to the host may start; a reboot or a changed clock never prolongs
        them.
        """
        wait = 0.0
        if self.started is not None and self.started <= monotonic:
            wait = self.started + seconds - monotonic
        return max(0.0, wait, self.pause(wall))

    def pause(self, wall: float) -> float:
        """Return the seconds left of the pause that the host demanded."""
        if not self.postponed_at <= wall <= self.postponed_until:
            return 0.0
        return min(self.postponed_until, self.postponed_at + LONGEST_POSTPONEMENT_SECONDS) - wall


@dataclass
class Slot:
    """The slot of one request."""

    sent_at: float | None = None  # monotonic clock; set by the sender once the request is handed to the system


class RateLimit:
    """The limit of the host of ``url``: two requests start at least ``seconds`` apart."""

    def __init__(self, url: str, seconds: float, folder: Path | None = None) -> None:
        host = urlsplit(url).netloc.rpartition("@")[2].lower()
        self.host = host.removesuffix(":443").removesuffix(":80")
        self.seconds = seconds
        name = re.sub(r"[^a-z0-9.-]", "_", self.host) or "_"
        self._path = (folder or machine_folder()) / f"{name[:200]}.json"

    @contextmanager
    def slot(self, deadline: float) -> Iterator[Slot]:
        """Wait until the rate limit of the host allows a request; set the slot's ``sent_at``, and leave the block when
        the response begins.

        Args:
            deadline: a ``time.monotonic()``; a slot that cannot start by then is refused at once.

        Raises:
            HostPaused: the host demanded a pause that lasts longer.
            SourceUnreachable: other processes keep the host busy for longer.
        """
        while True:
            with self._locked(deadline) as file:
                state = _read(file)
                wait = state.wait(self.seconds, time.monotonic(), time.time())
                if wait <= 0:
                    slot = Slot()
                    self._mark_start(file, state, time.monotonic())
                    try:
                        yield slot
                        return
                    finally:
                        self._mark_start(file, state, self._arrival(slot))
            if time.monotonic() + wait > deadline:
                raise self._refusal(wait)
            time.sleep(wait)

    def postpone(self, seconds: float) -> None:
        """Block all requests to this host for ``seconds`` (at most a day), also after a restart; never shortens a
        pause.
        """
        if not math.isfinite(seconds) or seconds <= 0:
            return
        with self._locked(time.monotonic() + 60) as file:
            now = time.time()
            state = _read(file)
            until = now + max(min(seconds, LONGEST_POSTPONEMENT_SECONDS), state.pause(now))
            _write(file, _State(state.started, now, until))

    def _arrival(self, slot: Slot) -> float:
        now = time.monotonic()
        if slot.sent_at is None:
            return now
        return min(now, slot.sent_at + max(ARRIVAL_LEAST_SECONDS, ARRIVAL_SHARE * self.seconds))

    def _mark_start(self, file: int, state: _State, started: float) -> None:
        _write(file, _State(started, state.postponed_at, state.postponed_until))

    def _refusal(self, wait: float) -> HostPaused | SourceUnreachable:
        if wait > self.seconds:
            until = from_epoch(time.time() + wait)
            return HostPaused(
                f"{self.host} asked for a pause until {until:%Y-%m-%d %H:%M:%S} UTC; nothing is sent before. "
                f"Wait for it (or, if it was an error, delete {self._path})"
            )
        return SourceUnreachable(f"{self.host}: no free slot in time, because other runs use the host; try again later")

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[int]:
        while True:
            file = regular_only(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
            try:
                if try_lock(file):
                    try:
                        if os.fstat(file).st_nlink:  # else the file was deleted meanwhile
                            yield file
                            return
                    finally:
                        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough if a fork inherited it
            finally:
                os.close(file)
            if time.monotonic() >= deadline:
                raise SourceUnreachable(
                    f"{self.host}: no free slot in time, because another process holds the lock; if it is stopped "
                    f"or stuck, kill it (`lsof {self._path}` names it)"
                )
            time.sleep(random.uniform(0.25, 1) * _LOCK_POLL_SECONDS)


def machine_folder() -> Path:
    """Return this user's folder for the hosts' rate limits, shared by all of the user's processes; creates it on first
    use.

    Raises:
        RateLimitFolderUnsafe: no folder is available that only this user controls.
    """
    try:
        return user_folder()
    except UnsafeFolder as error:
        raise RateLimitFolderUnsafe(str(error)) from None


def _read(file: int) -> _State:
    try:
        fields = json.loads(os.pread(file, 4096, 0))
        started = fields["started"]
        at, until = float(fields["postponed_at"]), float(fields["postponed_until"])
        return _State(None if started is None else float(started), at, until)
    except (ValueError, KeyError, TypeError, OverflowError):
        return _State()


def _write(file: int, state: _State) -> None:
    content = json.dumps(asdict(state)).encode()
    os.pwrite(file, content, 0)
    os.ftruncate(file, len(content))
