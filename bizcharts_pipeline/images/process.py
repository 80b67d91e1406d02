"""Client of a worker process that handles untrusted pictures, and is restarted when it dies.

A worker is a script that imports nothing of BizCharts, limits itself, and answers each picture with a JSON object; both
are preceded by four bytes of length (big-endian). Its first answer signals that it is ready. ``worker.py`` is one.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bizcharts_pipeline.images.errors import DecoderUnavailable
from bizcharts_pipeline.images.structure import PictureRejected

START_SECONDS = 60.0
MAX_REASON_CHARACTERS = 300
_MAX_ANSWER_BYTES = 64 * 1024
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


class _Crashed(PictureRejected):
    """The process ended before it answered."""


class WorkerProcess:
    """Runs ``script ARGUMENTS``; a context manager. The process starts with the first picture, and ends with the block.

    Args:
        script: run in isolated mode, without the environment's secrets.
        seconds: wall-clock time limit per picture.
    """

    def __init__(self, script: Path, arguments: Sequence[str], *, seconds: float) -> None:
        self._command = [sys.executable, "-I", str(script), *arguments]
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered = False  # whether this process has answered before
        self.ready: dict[str, Any] = {}  # the first answer of the newest process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int | None:
        """The id of the worker process for pictures while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the worker process for pictures, unless it is running.

        Raises:
            DecoderUnavailable: it does not start.
        """
        self._process = self._process or self._start()

    def ask(self, content: bytes) -> dict[str, Any]:
        """Return the worker process's answer to the picture ``content``.

        A process that had answered before may have crashed because of an earlier picture, or of a lack of memory. So
        the picture is retried once, in a new process.

        Raises:
            PictureRejected: the worker refused it, crashed, or exceeded its time or memory limit.
            DecoderUnavailable: the process does not start.
        """
        had_answered = self._has_answered
        try:
            answer = self._answer(content)
        except _Crashed:
            if not had_answered:
                raise
            answer = self._answer(content)
        if "error" in answer:
            raise PictureRejected(str(answer["error"])[:MAX_REASON_CHARACTERS])
        return answer

    def _answer(self, content: bytes) -> dict[str, Any]:
        process = self._process or self._start()
        try:
            answer = _ask(process, content, time.monotonic() + self._seconds)
        except TimeoutError:
            self.end()
            raise PictureRejected(f"decoding took more than {self._seconds:g} s") from None
        except (OSError, EOFError, ValueError):
            raise _Crashed(f"the decoder crashed ({_ending(self.end())})") from None
        self._has_answered = True
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            bufsize=0,
        )
        self._process = process
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            answer = _receive(process, time.monotonic() + START_SECONDS)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            ending, command = _ending(self.end()), " ".join(self._command)
            raise DecoderUnavailable(
                f"The picture decoder does not start ({ending}, {type(error).__name__}); run `{command}` to see why"
            ) from error
        self.ready = answer
        return process

    def end(self) -> int:
        """Stop the worker process for pictures, if necessary by force; return its exit status."""
        process, self._process, self._has_answered = self._process, None, False
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _ask(process: subprocess.Popen[bytes], content: bytes, deadline: float) -> dict[str, Any]:
    assert process.stdin is not None
    message = memoryview(len(content).to_bytes(4, "big") + content)
    descriptor = process.stdin.fileno()
    while message:
        _wait(descriptor, selectors.EVENT_WRITE, deadline)
        message = message[os.write(descriptor, message[: 64 * 1024]) :]
    return _receive(process, deadline)


def _receive(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    """Return the next answer. ``EOFError``: the process has ended; ``ValueError``: the answer is malformed."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    length = int.from_bytes(_read(descriptor, 4, deadline), "big")
    if length > _MAX_ANSWER_BYTES:
        raise ValueError(f"an answer of {length} bytes")
    answer = json.loads(_read(descriptor, length, deadline))
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    return answer


def _read(descriptor: int, length: int, deadline: float) -> bytes:
    content = b""
    while len(content) < length:
        _wait(descriptor, selectors.EVENT_READ, deadline)
        piece = os.read(descriptor, length - len(content))
        if not piece:
            raise EOFError
        content += piece
    return content


def _wait(descriptor: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
