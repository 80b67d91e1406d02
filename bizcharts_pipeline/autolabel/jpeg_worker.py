"""Sandboxed process that converts untrusted images to small JPEGs. Run as a file.

It imports nothing of BizCharts except the decoder in ``images/worker.py``, which documents the limits of the sandbox.
Images are read from stdin, each as four bytes of length (big-endian) and its content. For each image a frame of the
same format is written to stdout: a JPEG without metadata, or empty if the image cannot be decoded. The first frame
signals that the process is ready. Usage: ``python -I jpeg_worker.py MAX_PIXELS MAX_SIDE QUALITY CPU_SECONDS
MAX_OUTPUT_BYTES``.
"""

import os
import resource
import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

MEMORY_BYTES = 1024 * 2**20  # address space, including libraries; resource limits are enforced on Linux
READY = b"ready"


def main(max_pixels: int, max_side: int, quality: int, cpu_seconds: int, max_output_bytes: int) -> None:
    """Convert the images that are to be sent to labelling models until stdin ends."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's prints must not be mistaken for an image
    worker = _decoder()
    from PIL import Image, ImageFile

    Image.MAX_IMAGE_PIXELS = max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.init()
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, max_output_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        resource.setrlimit(what, (most, most))
    _send(outgoing, READY)
    while len(header := incoming.read(4)) == 4:
        _send(outgoing, _jpeg(worker, incoming.read(int.from_bytes(header, "big")), max_side, quality))


def _jpeg(worker: ModuleType, content: bytes, max_side: int, quality: int) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, image = worker.decode(content)
        image.thumbnail((max_side, max_side))
        made = BytesIO()
        image.save(made, "JPEG", quality=quality)
        return made.getvalue()
    except Exception:  # a decoder may raise anything; continue with the next image
        return b""


def _decoder() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "images" / "worker.py"
    spec = spec_from_file_location("picture_decoder", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _send(outgoing: BinaryIO, content: bytes) -> None:
    outgoing.write(len(content).to_bytes(4, "big") + content)
    outgoing.flush()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
