"""The process that sends to one destination (:mod:`.sender`), as its parent sees it."""

import json
import os
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from bizcharts_pipeline.alerts.destinations import Destination

START_SECONDS = 60.0
ANSWER_SECONDS = 90.0  # for one message: some services take several requests, and a name is slow to resolve
MAX_LINE_BYTES = 4_096
_COMMAND = (sys.executable, "-I", "-m", "bizcharts_pipeline.alerts.sender")
# Neither keys nor proxies, and no home with files of Apprise or netrc.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "NETRC": "/dev/null", "PATH": "/usr/bin:/bin"}
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class NotReady(Exception):
    """The destination cannot be used now; nothing was sent. The message holds no address."""


class NoOutcome(Exception):
    """The process ended, or took too long, after it got a message."""


class SenderProcess:
    """Sends to one destination; a context manager. The process starts with :meth:`start`."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: str | None = None
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (process := self._process) is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def start(self) -> None:
        """Start the process that sends alerts, unless it runs, and wait until it is ready to send.

        Raises:
            NotReady: it does not start, or the destination cannot be used.
        """
        if self._process is not None:
            if self._problem:
                raise NotReady(self._problem)
            return
        environment = _ENVIRONMENT | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            bufsize=0,
        )
        self._problem = "the sender did not start"
        try:
            answer = self._exchange({"url": self.destination.url}, START_SECONDS)
        except (OSError, ValueError, EOFError, TimeoutError):
            raise NotReady(self._problem) from None
        self._problem = None if answer.get("ready") else str(answer.get("detail"))[:200]
        if self._problem:
            raise NotReady(self._problem)

    def send(self, title: str, message: str) -> tuple[str, str]:
        """Send one alert; return the outcome (see :mod:`.sender`) and its reason.

        Raises:
            NoOutcome: it may have been sent.
        """
        try:
            answer = self._exchange({"title": title, "message": message}, ANSWER_SECONDS)
        except TimeoutError:
            self._problem = "the sender took too long"
            raise NoOutcome(self._problem) from None
        except (OSError, ValueError, EOFError):
            self._problem = "the sender ended"
            raise NoOutcome(self._problem) from None
        return str(answer["outcome"]), str(answer["detail"])[:200]

    def _exchange(self, message: dict[str, str], seconds: float) -> dict[str, object]:
        """Write a line, and return the next one that is read; ``EOFError``: the process has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(message)}\n".encode())
        deadline, reading = time.monotonic() + seconds, self._process.stdout.fileno()
        while b"\n" not in self._received:
            if not select.select([reading], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError
            piece = os.read(reading, MAX_LINE_BYTES)
            if not piece or len(self._received) > MAX_LINE_BYTES:
                raise EOFError
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        return answer
