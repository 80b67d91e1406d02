"""Runs a program with a time limit and a limit on its output."""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bizcharts_pipeline.core.blanking import blank_text

_TAIL_BYTES = 4_000
_FOR_CHILDREN = re.compile(r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|LANG|LC_\w+")


def child_environment() -> dict[str, str]:
    """Return the variables that ssh, rsync and ssh-keygen need to reach a pod; API keys are excluded."""
    return {name: value for name, value in os.environ.items() if _FOR_CHILDREN.fullmatch(name)}


@dataclass(frozen=True)
class Ended:
    """Result of a program. ``status`` is negative if a signal killed it."""

    status: int
    stdout: bytes
    stderr: str  # the last bytes, with API keys masked
    stopped: str | None  # why it was killed from here: time limit or output limit


def execute(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    most_bytes: int,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    stop: Callable[[], str | None] = lambda: None,
    progress: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a program for a pod, such as ssh, in its own process group, which is killed after ``timeout_seconds``.

    ``stop`` is called every second; it returns the reason to kill the program, or ``None``. ``progress`` is called
    whenever the program prints something. Without ``environment``, the program gets `child_environment`.
    """
    with _as_file(stdin) as given:
        process = subprocess.Popen(
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment() if environment is None else environment,
            start_new_session=True,
        )
    assert process.stdout
    assert process.stderr
    watch = _Watch(process, timeout_seconds, stop)
    stderr = _Tail(process.stderr)
    try:
        answer = bytearray()
        while len(answer) <= most_bytes and (content := process.stdout.read1(65_536)):  # type: ignore[attr-defined]
            answer += content
            progress()
        stdout = bytes(answer)
        if len(stdout) > most_bytes:
            watch.end(f"its output exceeds {most_bytes:,} bytes")
        process.stdout.close()
        process.wait()
    finally:
        watch.end("it was abandoned")
        process.wait()
    return Ended(process.returncode, stdout[:most_bytes], stderr.read(), watch.reason)


@contextmanager
def _as_file(content: bytes) -> Iterator[IO[bytes]]:
    """Yield an open file with ``content``. Empty content needs no temporary file, so a full disk does not matter."""
    if not content:
        with Path(os.devnull).open("rb") as nothing:
            yield nothing
        return
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


class _Watch(threading.Thread):
    """Kills a process group at its time limit."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float, stop: Callable[[], str | None]) -> None:
        super().__init__(daemon=True)
        self.reason: str | None = None
        self._process = process
        self._seconds = seconds
        self._stop = stop
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        left = self._seconds
        while left > 0 and not self._over.wait(min(1.0, left)):
            left -= 1.0
            if reason := self._stop():
                return self.end(reason)
        if not self._over.is_set():
            self.end(f"it took longer than {self._seconds:g} s")

    def end(self, reason: str) -> None:
        self._over.set()
        if self._process.poll() is None:
            self.reason = reason
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


class _Tail(threading.Thread):
    """Reads a stream to its end and keeps its last bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        with self._stream:
            while content := self._stream.read1(65_536):  # type: ignore[attr-defined]
                self._kept = (self._kept + content)[-_TAIL_BYTES:]

    def read(self) -> str:
        self.join(timeout=5)  # a grandchild may hold it open
        return blank_text(self._kept).strip()
