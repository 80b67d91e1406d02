"""Validation of rows and images, the same on a pod and before one is rented.

It imports no other module of this folder, so it works as a file next to a script and as a part of the package. A reason
is a short category, optionally followed by ``": "`` and details, so that reasons can be counted.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

LABELS = ("bearish", "neutral", "bullish")
PLACEHOLDER = "<image>"  # marks the image in a question; the chat template inserts its own marker
TEXT_BEGINS = "\n\n"  # separates the instruction and the post's text
# Nothing is truncated later: a length limit would cut off the label at the end, or an image's tokens.
MAX_QUESTION_BYTES = 4_000
MAX_SOURCE_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 200  # limit of Qwen's image processors
MIN_SIDE_PIXELS = 4  # image processors can mistake a side of 1 or 3 for the colour channels
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MIN_GROUPS_PER_CLASS = 5  # minimum of different posts per class for a text model: one per fold
# Special tokens of the supported bases; a tokenizer interprets them anywhere in the text.
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>|</?s>|<unk>|<pad>")


def labelled_row_problem(record: Any, folder: Path) -> str | None:
    """Return why the training cannot use a row of ``train.json`` or ``validation.json`` in ``folder``; ``None`` if it
    can.

    The images that it names are not opened (see :func:`image_problem`).
    """
    match record:
        case {
            "messages": [{"role": "user", "content": str(question)}, {"role": "assistant", "content": str(answer)}],
            "images": list(images),
        }:
            if answer not in LABELS:
                return f"unknown class: {answer!r:.40} is not one of {', '.join(LABELS)}"
            return _question_problem(question, images, folder)
        case _:
            return "malformed row: not one question, one answer and a list of images"


def gold_row_problem(record: Any, folder: Path) -> str | None:
    """Return why the training's script cannot score a row of ``gold.json`` in ``folder``; ``None`` if it can."""
    match record:
        case {"thread_id": int(), "question": str(question), "images": list(images), **more} if not more:
            return _question_problem(question, images, folder)
        case _:
            return "malformed row: not a thread_id, a question and a list of images, and nothing else"


def _question_problem(question: str, images: Sequence[Any], folder: Path) -> str | None:
    if question.count(PLACEHOLDER) != len(images):
        return f"wrong number of images: {question.count(PLACEHOLDER)} times {PLACEHOLDER} for {len(images)}"
    text = without_placeholder(question)
    if not text.strip() or not (images or text.partition(TEXT_BEGINS)[2].strip()):
        return "empty text"
    if len(text.encode(errors="replace")) > MAX_QUESTION_BYTES:
        return f"text too long: more than {MAX_QUESTION_BYTES} bytes"
    if found := _SPECIAL_TOKEN.search(text):
        return f"special token in the text: {found[0]!r:.40}"
    for image in images:
        if not isinstance(image, str) or not (folder / image).resolve().is_relative_to(folder.resolve()):
            return f"image outside of the data set: {image!r:.80}"
    return None


def without_placeholder(question: str) -> str:
    """Return a training question without the image's placeholder, which the trainer would leave in as text."""
    return question.replace(f"{PLACEHOLDER}\n", "").replace(PLACEHOLDER, "")


def text_row_problem(row: Any) -> str | None:
    """Return why the training cannot use a row of ``text.json`` (``text``, ``label`` 0 to 2, ``group``); ``None`` if
    it can."""
    match row:
        case {"text": str(text), "label": int(label), "group": int()}:
            if label not in range(len(LABELS)):
                return f"unknown class: {label} is not 0 to {len(LABELS) - 1}"
            return None if text.strip() else "empty text"
        case _:
            return "malformed row: not a text, a label and a group"


def gold_text_problem(row: Any) -> str | None:
    """Return why the training's script cannot score a row of a text model's ``gold.json`` (``thread_id``, ``text``);
    ``None`` if it can."""
    match row:
        case {"label": _}:
            return "it has a label: gold labels must not be sent to a pod"
        case {"thread_id": int(), "text": str()}:
            return None
        case _:
            return "malformed row: not a thread_id and a text"


def class_problem(rows: Sequence[Any]) -> str | None:
    """Return the class with too few different posts for training; ``rows`` are valid rows of ``text.json``."""
    for label, name in enumerate(LABELS):
        groups = {row["group"] for row in rows if row["label"] == label}
        if len(groups) < MIN_GROUPS_PER_CLASS:
            return (
                f"too few posts of a class: {len(groups)} different posts of class {label} ({name}); "
                f"{MIN_GROUPS_PER_CLASS} are needed"
            )
    return None


def image_problem(path: Path) -> str | None:
    """Decode an image completely and return why it cannot be shown to the vision model, in training or later; ``None``
    if it can.

    The decoder of a hostile file may crash the process: call this in a separate process.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(path)
    except Exception as error:  # decoders raise arbitrary errors
        return f"image cannot be decoded: {type(error).__name__}, {str(error)[:120]}"
    if min(image.size) < MIN_SIDE_PIXELS:
        return f"image too small: {image.width} by {image.height} pixels, at least {MIN_SIDE_PIXELS} a side are needed"
    if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
        return f"image too narrow: {image.width} by {image.height} pixels, {MAX_ASPECT_RATIO} to 1 is the limit"
    return None


def open_image(path: Path | str) -> "Image.Image":
    """Return the first frame of an image as it is shown to the vision model, in training and later: in RGB, on white
    where it is transparent."""
    from PIL import Image

    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_SOURCE_PIXELS:
            raise ValueError(f"{image.width} by {image.height} pixels are too many")
        image.load()
        if "A" in image.getbands() or "transparency" in image.info:
            seen = Image.new("RGBA", image.size, "white")
            seen.alpha_composite(image.convert("RGBA"))
            return seen.convert("RGB")
        return image.convert("RGB")
