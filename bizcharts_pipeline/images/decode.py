"""Client of the decoder process, which is restarted when it dies."""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bizcharts_pipeline.images.errors import DecoderUnavailable
from bizcharts_pipeline.images.structure import Outline, PictureRejected

START_SECONDS = 60.0
_WORKER = Path(__file__).with_name("worker.py")
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_REASON_CHARACTERS = 300
_HASH = re.compile(r"[0-9a-f]{16}")
_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Decoded:
    """Properties of a decoded picture. ``nsfw`` is ``None`` if it could not be rated."""

    width: int
    height: int
    perceptual_hash: str | None  # 64 bits as 16 hexadecimal digits; None: nearly a single tone
    nsfw: float | None  # 0 to 1


class _Crashed(PictureRejected):
    """The process ended before it answered."""


class Decoder:
    """Decodes pictures in a separate process; a context manager. The process starts with the first picture.

    Args:
        max_pixels: the process refuses larger pictures, and its memory limit allows no more.
        seconds: wall-clock time limit per picture, and also its CPU time limit.
        rate: whether to load the NSFW model, which takes a quarter of a second and 100 MB.
    """

    def __init__(self, max_pixels: int, *, seconds: float = 20.0, rate: bool = True) -> None:
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._rate = rate
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered = False  # whether this process has answered before
        self.nsfw_problem: str | None = None  # why pictures are not rated

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, unless it is running.

        Raises:
            DecoderUnavailable: it does not start.
        """
        self._process = self._process or self._start()

    def decode(self, content: bytes, outline: Outline) -> Decoded:
        """Decode the first frame of ``content``, which :func:`examine` has accepted as ``outline``.

        A process that had answered before may have crashed because of an earlier picture, or of a lack of memory. So
        the picture is retried once, in a new process.

        Raises:
            PictureRejected: it cannot be decoded: the decoder crashed, or exceeded its time or memory limit.
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
            raise PictureRejected(str(answer["error"])[:_MAX_REASON_CHARACTERS])
        if problem := answer.get("nsfw_problem"):
            self.nsfw_problem = str(problem)[:_MAX_REASON_CHARACTERS]
        return _decoded(answer, outline)

    def _answer(self, content: bytes) -> dict[str, Any]:
        process = self._process or self._start()
        try:
            answer = _ask(process, content, time.monotonic() + self._seconds)
        except TimeoutError:
            self._end()
            raise PictureRejected(f"decoding took more than {self._seconds:g} s") from None
        except (OSError, EOFError, ValueError):
            raise _Crashed(f"the decoder crashed ({_ending(self._end())})") from None
        self._has_answered = True
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", str(_WORKER), str(self._max_pixels), str(round(self._seconds) or 1)]
        process = subprocess.Popen(
            [*command, "1" if self._rate else "0"],
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
            ending = _ending(self._end())
            raise DecoderUnavailable(
                f"The picture decoder does not start ({ending}, {type(error).__name__}); run `{' '.join(command)} 1` "
                "to see why"
            ) from error
        self.nsfw_problem = answer["nsfw_problem"]
        return process

    def _end(self) -> int:
        """Stop the process, if necessary by force; return its exit status."""
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


def _decoded(answer: dict[str, Any], outline: Outline) -> Decoded:
    """Validate the decoder process's answer."""
    if _FORMATS.get(str(answer.get("format"))) != outline.media_type:
        raise PictureRejected(f"decoded as something else than {outline.media_type}")
    if (answer.get("width"), answer.get("height")) != (outline.width, outline.height):
        raise PictureRejected("its headers disagree on its size")
    perceptual, nsfw = answer.get("perceptual_hash"), answer.get("nsfw")
    if not (isinstance(perceptual, str) and _HASH.fullmatch(perceptual)):
        perceptual = None
    if not (isinstance(nsfw, float) and 0 <= nsfw <= 1):
        nsfw = None
    return Decoded(outline.width, outline.height, perceptual, nsfw)


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
