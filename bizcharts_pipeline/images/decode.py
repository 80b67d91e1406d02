"""Client of the decoder process, which is restarted when it dies."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bizcharts_pipeline.images.process import MAX_REASON_CHARACTERS, WorkerProcess
from bizcharts_pipeline.images.structure import Outline, PictureRejected

_WORKER = Path(__file__).with_name("worker.py")
_HASH = re.compile(r"[0-9a-f]{16}")
_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}


@dataclass(frozen=True)
class Decoded:
    """Properties of a decoded picture. ``nsfw`` is ``None`` if it could not be rated."""

    width: int
    height: int
    perceptual_hash: str | None  # 64 bits as 16 hexadecimal digits; None: nearly a single tone
    nsfw: float | None  # 0 to 1


class Decoder(WorkerProcess):
    """Decodes pictures in a separate process.

    Args:
        max_pixels: the process refuses larger pictures, and its memory limit allows no more.
        seconds: wall-clock time limit per picture, and also its CPU time limit.
        rate: whether to load the NSFW model, which takes a quarter of a second and 100 MB.
    """

    def __init__(self, max_pixels: int, *, seconds: float = 20.0, rate: bool = True) -> None:
        arguments = [str(max_pixels), str(round(seconds) or 1), "1" if rate else "0"]
        super().__init__(_WORKER, arguments, seconds=seconds)
        self._problem: str | None = None  # of a single picture

    @property
    def nsfw_problem(self) -> str | None:
        """Why pictures are not rated."""
        return self._problem or self.ready.get("nsfw_problem")

    def decode(self, content: bytes, outline: Outline) -> Decoded:
        """Decode the first frame of the picture ``content``; ``outline`` is what :func:`examine` returned for it.

        Raises:
            PictureRejected: it cannot be decoded: the decoder crashed, or exceeded its time or memory limit.
            DecoderUnavailable: the process does not start.
        """
        answer = self.ask(content)
        if problem := answer.get("nsfw_problem"):
            self._problem = str(problem)[:MAX_REASON_CHARACTERS]
        return _decoded(answer, outline)


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
