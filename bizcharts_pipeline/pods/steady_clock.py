"""Clock for durations and cost that is independent of changes of the wall clock, shared by all processes of one boot.

It is the wall clock at the installation's first use in this boot, advanced by the time since boot. After a reboot it
restarts from the wall clock. If the system has no boot id (macOS), each process starts its own.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular, write_atomically

ANCHOR = "clock.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def open_clock(folder: Path) -> Callable[[], datetime]:
    """Return the clock by which pods are timed and billed, a function that returns naive UTC; ``BIZCHARTS_NOW`` does
    not change it.

    ``folder`` holds the anchor shared by processes; without write access to it, the clock is local to this process.
    """
    boot, file = _boot_id(), folder / ANCHOR
    wall, uptime = time.time(), _uptime()
    anchor = _read(file, boot)
    if anchor is None:
        anchor = wall - uptime
        if boot:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(file, json.dumps({"boot_id": boot, "wall_at_boot": anchor}).encode())
            except OSError:
                pass  # durations within this process are still correct
    start = datetime.fromtimestamp(anchor, UTC).replace(tzinfo=None)
    return lambda: start + timedelta(seconds=_uptime())


def _uptime() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _read(file: Path, boot: str) -> float | None:
    try:
        found = json.loads(read_regular(file))
        return float(found["wall_at_boot"]) if boot and found["boot_id"] == boot else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
