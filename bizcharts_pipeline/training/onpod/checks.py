"""Which rows and images the scripts of this folder train on and score: the one answer to that, on a pod and before one
is rented.

It imports nothing of its neighbours, so it works as a file beside a script and as a part of the package. A reason is a
short category, and after ``": "`` its details, where there are any: so reasons can be counted.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

LABELS = ("bearish", "neutral", "bullish")
PLACEHOLDER = "<image>"  # stands in a question for the image, which the chat template puts in itself
TEXT_BEGINS = "\n\n"  # between the instruction and the post's text
# Nothing is cut off later: a length limit would take the label from the end, or an image's tokens.
MAX_QUESTION_BYTES = 4_000
MAX_SOURCE_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 200  # the image processors of Qwen refuse more
MIN_SIDE_PIXELS = 4  # a side of 1 or 3 can be taken for the colour channels by image processors
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MIN_GROUPS_PER_CLASS = 5  # different posts of a class that a text model needs: one a fold
# Special tokens of the known bases; a tokenizer takes them for structure wherever they stand.
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>|</?s>|<unk>|<pad>")


def labelled_row_problem(record: Any, folder: Path) -> str | None:
    """Return why a row of ``train.json`` or ``validation.json`` in ``folder`` cannot be learned from; ``None``: it can.

    The images that it names are not opened (:func:`image_problem`).
    """
    match record:
        case {
            "messages": [{"role": "user", "content": str(asked)}, {"role": "assistant", "content": str(answer)}],
            "images": list(images),
        }:
            if answer not in LABELS:
                return f"unknown class: {answer!r:.40} is not one of {', '.join(LABELS)}"
            return _question_problem(asked, images, folder)
        case _:
            return "malformed row: not one question, one answer and a list of images"


def gold_row_problem(record: Any, folder: Path) -> str | None:
    """Return why a row of ``gold.json`` in ``folder`` cannot be scored; ``None``: it can."""
    match record:
        case {"thread_id": int(), "question": str(asked), "images": list(images), **more} if not more:
            return _question_problem(asked, images, folder)
        case _:
            return "malformed row: not a thread_id, a question and a list of images, and nothing else"


def _question_problem(asked: str, images: Sequence[Any], folder: Path) -> str | None:
    if asked.count(PLACEHOLDER) != len(images):
        return f"wrong number of images: {asked.count(PLACEHOLDER)} times {PLACEHOLDER} for {len(images)}"
    text = without_placeholder(asked)
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


def without_placeholder(asked: str) -> str:
    """Return a question without the image's placeholder, which the trainer would leave in as text."""
    return asked.replace(f"{PLACEHOLDER}\n", "").replace(PLACEHOLDER, "")


def text_row_problem(row: Any) -> str | None:
    """Return why a row of ``text.json`` (``text``, ``label`` 0 to 2, ``group``) cannot be learned from."""
    match row:
        case {"text": str(text), "label": int(label), "group": int()}:
            if label not in range(len(LABELS)):
                return f"unknown class: {label} is not 0 to {len(LABELS) - 1}"
            return None if text.strip() else "empty text"
        case _:
            return "malformed row: not a text, a label and a group"


def gold_text_problem(row: Any) -> str | None:
    """Return why a row of a text model's ``gold.json`` (``thread_id``, ``text``) cannot be scored."""
    match row:
        case {"label": _}:
            return "it has a label: gold is marked elsewhere"
        case {"thread_id": int(), "text": str()}:
            return None
        case _:
            return "malformed row: not a thread_id and a text"


def class_problem(rows: Sequence[Any]) -> str | None:
    """Return which class has too few different posts; ``rows`` are those of ``text.json`` without a problem."""
    for label, name in enumerate(LABELS):
        groups = {row["group"] for row in rows if row["label"] == label}
        if len(groups) < MIN_GROUPS_PER_CLASS:
            return (
                f"too few posts of a class: {len(groups)} different posts of class {label} ({name}); "
                f"{MIN_GROUPS_PER_CLASS} are needed"
            )
    return None


def image_problem(path: Path) -> str | None:
    """Return why an image cannot be shown to a model, after it was decoded whole; ``None``: it can.

    A decoder of hostile files may take the process with it: call it in one that may die.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(path)
    except Exception as error:  # decoders raise whatever they please
        return f"image cannot be decoded: {type(error).__name__}, {str(error)[:120]}"
    if min(image.size) < MIN_SIDE_PIXELS:
        return f"image too small: {image.width} by {image.height} pixels, at least {MIN_SIDE_PIXELS} a side are needed"
    if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
        return f"image too narrow: {image.width} by {image.height} pixels, {MAX_ASPECT_RATIO} to 1 is the limit"
    return None


def open_image(path: Path | str) -> "Image.Image":
    """Return an image as it is seen: its first frame in RGB, on white where it is transparent."""
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
