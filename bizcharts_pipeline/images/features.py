"""Features of stored pictures: text by optical character recognition, the last hidden layer of the packaged NSFW
network, colours, perceptual hash, and kind.

Each content is read once by each version of the extractor, in a guarded process (``feature_worker.py``). Text
recognition is an extra; without it, the other features are the same.
"""

import base64
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.core.attempts import Attempts, SetAside
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.images.kinds import kind_of
from bizcharts_pipeline.images.process import WorkerProcess
from bizcharts_pipeline.images.structure import PictureRejected
from bizcharts_pipeline.text.cleaning import clean_text
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.image_features import (
    COLOURS,
    VECTOR_LENGTH,
    ImageFeatures,
    WaitingImage,
    add_mentions,
    feature_counts,
    picture_texts,
    save_features,
    waiting_images,
)
from bizcharts_pipeline.warehouse.pictures import ON_THE_BOARD

CODE_VERSION = "1"  # changes with any change of the features
OCR_PACKAGE = "rapidocr"
MAX_TEXT = 2_000  # characters
SECONDS = 20.0  # for each picture
COIN_CONFIDENCE = 0.8  # times that of the same words in a post's text
COIN_SOURCE = "image"

_WORKER = Path(__file__).with_name("feature_worker.py")


@dataclass(frozen=True)
class FeatureReport:
    """Result of one pass. ``problems`` names each picture without features, by its SHA-256."""

    extractor: str
    counts: Mapping[str, int]  # pictures of this pass by kind; 'none' for those without features
    held: Mapping[str, int]  # all pictures in the table, likewise
    with_text: int  # pictures of this pass in which text was found
    coins: int  # coins that pictures name and their posts' texts do not
    ocr_problem: str | None  # why no text is read
    problems: tuple[str, ...]
    more_waiting: bool


def extractor_version() -> str:
    """Return the version that pictures' features are stored under; it names the text recognition, if that is
    installed.
    """
    try:
        return f"{CODE_VERSION}+{OCR_PACKAGE} {importlib.metadata.version(OCR_PACKAGE)}"
    except importlib.metadata.PackageNotFoundError:
        return CODE_VERSION


class FeatureReader(WorkerProcess):
    """Computes features in a separate process."""

    def __init__(self, max_pixels: int, extractor: str) -> None:
        self.extractor = extractor
        super().__init__(_WORKER, [str(max_pixels), str(round(SECONDS))], seconds=SECONDS)

    @property
    def ocr_problem(self) -> str | None:
        """Why no text is read from pictures; known after the start."""
        return self.ready.get("ocr_problem")

    def read(self, content: bytes) -> ImageFeatures:
        """Return the features of a stored picture.

        Raises:
            PictureRejected: it cannot be read: the process crashed, or exceeded its time or memory limit.
            DecoderUnavailable: the process does not start.
        """
        return _features(self.ask(content), self.extractor)


def compute_features(
    database: Database, home: Path, *, max_pixels: int, limit: int, now: datetime, track: Track = silently
) -> FeatureReport:
    """Compute the features of at most ``limit`` stored thumbnails that have none of this extractor.

    Each is stored at once, so a killed pass is resumed by the next.

    Raises:
        DatabaseError: the database cannot be used.
        DecoderUnavailable: the process does not start.
    """
    extractor = extractor_version()
    with database.read() as connection:
        waiting = waiting_images(connection, extractor, limit)
    counts: Counter[str] = Counter()
    problems, with_text = [], 0
    attempts = Attempts.of_home(home)
    with FeatureReader(max_pixels, extractor) as reader:
        for image in track(waiting, "Features of pictures", len(waiting)):
            found = _features_or_problem(reader, attempts, home, image)
            if isinstance(found, OSError):
                problems.append(f"{image.path}: cannot be read ({found.strerror})")
                continue
            with database.write() as connection:
                save_features(connection, image.sha256, extractor, found, now)
            if isinstance(found, str):
                counts["none"] += 1
                problems.append(f"picture {image.sha256[:12]}: {found}")
            else:
                counts[found.kind] += 1
                with_text += bool(found.ocr_text)
        ocr_problem = reader.ocr_problem
    coins = _add_coins(database, now)
    with database.read() as connection:
        held = feature_counts(connection)
    return FeatureReport(
        extractor, dict(counts), held, with_text, coins, ocr_problem, tuple(problems), len(waiting) == limit
    )


def _add_coins(database: Database, now: datetime) -> int:
    """Store the coins that recent pictures name; return how many were new. A post's text, if it changes later, removes
    them; the next pass adds them again."""
    with database.read() as connection:
        texts = picture_texts(connection, now - ON_THE_BOARD)
    found = [
        (thread_id, mention.coin_symbol, mention.confidence * COIN_CONFIDENCE, COIN_SOURCE)
        for thread_id, text in texts
        for mention in find_mentions("", text)
    ]
    if not found:
        return 0
    with database.write() as connection:
        return add_mentions(connection, found)


def _features_or_problem(
    reader: FeatureReader, attempts: Attempts, home: Path, image: WaitingImage
) -> ImageFeatures | str | OSError:
    """Return the features, why the picture has none, or why its file cannot be read now."""
    try:
        content = read_regular(home / image.path)
    except OSError as error:
        return error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        return "its file was changed"
    reader.start()  # takes a second, during which a kill is not the picture's fault
    try:
        with attempts.attempt(f"features of picture {image.sha256}"):
            return reader.read(content)
    except (PictureRejected, SetAside) as error:
        return str(error)


def _features(answer: Mapping[str, Any], extractor: str) -> ImageFeatures:
    """Validate the process's answer."""
    try:
        colours = {name: float(answer["colours"][name]) for name in COLOURS}
        vector = np.frombuffer(base64.b64decode(answer["vector"]), "<f4").astype(np.float32)
        lines, perceptual = answer["lines"], answer["perceptual_hash"]
        kind = kind_of(colours, None if lines is None else len(lines), answer["text_share"])
        text = None if lines is None else clean_text("\n".join(map(str, lines)))[:MAX_TEXT]
    except (KeyError, TypeError, ValueError) as error:
        raise PictureRejected(f"its features are malformed ({type(error).__name__})") from None
    numbers = np.array([*colours.values(), *vector])
    if vector.shape != (VECTOR_LENGTH,) or not np.isfinite(numbers).all() or np.abs(numbers).max() > 60_000:
        raise PictureRejected("its features are not finite numbers")
    return ImageFeatures(kind, perceptual and str(perceptual), tuple(colours.values()), text, vector, extractor)
