"""Small JPEGs without metadata, as they are sent to the services; made in a sandboxed process.

They are not stored: a copy outside the image store would survive a deletion. Making one takes a few milliseconds, and
only posts about to be sent need one.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bizcharts_pipeline.images.errors import DecoderUnavailable
from bizcharts_pipeline.images.structure import PictureRejected, examine

MAX_SIDE = 512
QUALITY = 85
MAX_PIXELS = 4_000_000  # thumbnails have 62,500
MAX_BYTES = 512 * 1024
START_SECONDS = 60.0
SECONDS_EACH = 0.5
_WORKER = Path(__file__).with_name("jpeg_worker.py")
_READY = b"ready"


def small_jpegs(pictures: Sequence[bytes]) -> list[bytes | None]:
    """Return, for each image that is to be sent to a labelling model, a JPEG of at most ``MAX_SIDE`` pixels a side, or
    ``None`` if it cannot be decoded.

    An image that crashes or stalls the process affects no other: a new process handles the following ones.

    Raises:
        DecoderUnavailable: the process does not start.
    """
    made: list[bytes | None] = []
    while len(made) < len(pictures):
        made += [_checked(jpeg) for jpeg in _run(pictures[len(made) :])]
        if len(made) < len(pictures):
            made.append(None)  # the image that crashed or stalled the process
    return made


def _run(pictures: Sequence[bytes]) -> list[bytes]:
    """Return the output of one process for ``pictures``, up to the image that crashes or stalls it."""
    seconds = round(SECONDS_EACH * len(pictures)) + 5
    arguments = (MAX_PIXELS, MAX_SIDE, QUALITY, seconds, (MAX_BYTES + 4) * (len(pictures) + 1))
    command = [sys.executable, "-I", str(_WORKER), *map(str, arguments)]
    with tempfile.TemporaryFile() as incoming, tempfile.TemporaryFile() as outgoing:
        for picture in pictures:
            incoming.write(len(picture).to_bytes(4, "big") + picture)
        incoming.seek(0)
        process = subprocess.Popen(
            command, stdin=incoming, stdout=outgoing, stderr=subprocess.DEVNULL, env={"LC_ALL": "C.UTF-8"}, cwd="/"
        )
        try:
            process.wait(START_SECONDS + seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
        outgoing.seek(0)
        frames = _frames(outgoing.read())
    if frames[:1] != [_READY]:
        raise DecoderUnavailable(
            f"The process that makes small JPEGs does not start (exit status {process.returncode}); "
            f"run `{' '.join(command)}` to see why"
        )
    return frames[1 : len(pictures) + 1]


def _frames(content: bytes) -> list[bytes]:
    frames, position = [], 0
    while position + 4 <= len(content):
        end = position + 4 + int.from_bytes(content[position : position + 4], "big")
        if end > len(content):
            break
        frames.append(content[position + 4 : end])
        position = end
    return frames


def _checked(jpeg: bytes) -> bytes | None:
    """Validate the sandboxed process's output."""
    try:
        outline = examine(jpeg, max_bytes=MAX_BYTES, max_pixels=MAX_SIDE * MAX_SIDE)
    except PictureRejected:
        return None
    return jpeg if outline.media_type == "image/jpeg" and max(outline.width, outline.height) <= MAX_SIDE else None
