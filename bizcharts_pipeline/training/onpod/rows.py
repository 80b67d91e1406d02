"""The posts to learn from and to score, every picture of them decoded before anything is paid for.

A trainer meets a broken picture in mid-epoch; here all that is wrong with the data is named at the start.
"""

import json
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import BadInput
from PIL import Image

LABELS = ("bearish", "neutral", "bullish")
PICTURE = "<image>"  # stands in a question for the picture, which the chat template puts in itself
# Nothing is cut off later: a length limit would take the label from the end, or a picture's tokens.
MOST_QUESTION_BYTES = 4_000
MOST_SOURCE_PIXELS = 50_000_000
MOST_ASPECT = 200  # the vision models' own limit
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MOST_REPEATS = 4  # of a rare class's rows: more and they are learned by heart
_MOST_NAMED = 50


@dataclass(frozen=True)
class Row:
    """A post as a model is asked about it."""

    name: str  # for people: where it stands
    number: int  # its place in its file, or the thread's id
    question: str  # without placeholder
    images: tuple[Path, ...]
    label: int | None  # of LABELS; None: not to be known here


@dataclass(frozen=True)
class Data:
    """All posts of a training."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]  # may be empty
    gold: tuple[Row, ...]  # without labels; may be empty
    content: tuple[bytes, ...]  # of the files that are learned from


def read_data(folder: Path, special_tokens: Collection[str] = ()) -> Data:
    """Return the posts in ``folder`` (``dataset/`` and ``gold/``), after a look at each row and picture.

    Args:
        special_tokens: the tokenizer's, which no post may contain: they would be taken for structure.

    Raises:
        BadInput: naming every problem found (the first fifty).
    """
    problems: list[str] = []
    sources = [folder / "dataset" / "train.json", folder / "dataset" / "validation.json", folder / "gold" / "gold.json"]
    train, validation, gold = (_read(path, problems, labelled=path.name != "gold.json") for path in sources)
    if not train:
        problems.append(f"{sources[0]}: no rows to learn from")
    for row in (*train, *validation, *gold):
        problems += [f"{row.name}: {token!r} in its text" for token in special_tokens if token in row.question]
    pictures = {picture: row for row in (*train, *validation, *gold) for picture in row.images}
    for picture, row in pictures.items():
        if why := picture_problem(picture):
            problems.append(f"{row.name}: {picture}: {why}")
    if problems:
        more = f"\n… and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        raise BadInput(f"{len(problems)} problems of the data:\n" + "\n".join(problems[:_MOST_NAMED]) + more)
    content = tuple(path.read_bytes() for path in sources[:2] if path.exists())
    return Data(tuple(train), tuple(validation), tuple(gold), content)


def _read(path: Path, problems: list[str], *, labelled: bool) -> list[Row]:
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_bytes())
        if not isinstance(records, list):
            raise ValueError("not a list of rows")
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return []
    rows = []
    for number, record in enumerate(records):
        name = f"{path.name}, row {number}"
        try:
            rows.append(_labelled(path.parent, name, number, record) if labelled else _gold(path.parent, name, record))
        except BadInput as error:
            problems.append(f"{name}: {error}")
    return rows


def _labelled(folder: Path, name: str, number: int, record: Any) -> Row:
    match record:
        case {
            "messages": [{"role": "user", "content": str(asked)}, {"role": "assistant", "content": str(answer)}],
            "images": list(images),
        } if answer in LABELS:
            return Row(name, number, *_asked(folder, asked, images), LABELS.index(answer))
        case _:
            raise BadInput(f"not one question, one answer of {', '.join(LABELS)}, and a list of images")


def _gold(folder: Path, name: str, record: Any) -> Row:
    match record:
        case {"thread_id": int(thread_id), "question": str(asked), "images": list(images), **more} if not more:
            return Row(name, thread_id, *_asked(folder, asked, images), None)
        case _:
            raise BadInput("not a thread_id, a question and a list of images, and nothing else")


def _asked(folder: Path, asked: str, images: list[Any]) -> tuple[str, tuple[Path, ...]]:
    """Return the question without its placeholders, which the trainer would leave in as text, and the pictures."""
    if asked.count(PICTURE) != len(images):
        raise BadInput(f"{asked.count(PICTURE)} times {PICTURE} for {len(images)} pictures")
    question = asked.replace(f"{PICTURE}\n", "").replace(PICTURE, "")
    if len(question.encode(errors="replace")) > MOST_QUESTION_BYTES:
        raise BadInput(f"longer than {MOST_QUESTION_BYTES} bytes")
    pictures = []
    for image in images:
        path = folder / str(image)
        if not isinstance(image, str) or not path.resolve().is_relative_to(folder.resolve()):
            raise BadInput(f"{image!r:.80} is no path below {folder}")
        pictures.append(path)
    return question, tuple(pictures)


def picture_problem(path: Path) -> str | None:
    """Return why a picture cannot be shown to a model; ``None``: it can."""
    try:
        picture = open_picture(path)
    except Exception as error:  # decoders of hostile files raise whatever they please
        return f"cannot be decoded ({type(error).__name__}: {str(error)[:120]})"
    if max(picture.size) > MOST_ASPECT * min(picture.size):
        return f"{picture.width} by {picture.height} pixels: longer than {MOST_ASPECT} times its other side"
    return None


def open_picture(path: Path | str) -> Image.Image:
    """Return a picture as it is seen: its first frame in RGB, on white where it is transparent."""
    with Image.open(path, formats=FORMATS) as picture:
        if picture.width * picture.height > MOST_SOURCE_PIXELS:
            raise ValueError(f"{picture.width} by {picture.height} pixels are too many")
        picture.load()
        if "A" in picture.getbands() or "transparency" in picture.info:
            seen = Image.new("RGBA", picture.size, "white")
            seen.alpha_composite(picture.convert("RGBA"))
            return seen.convert("RGB")
        return picture.convert("RGB")


def balanced(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return ``rows`` with those of rarer classes repeated, up to the commonest class's number or
    :data:`MOST_REPEATS` times."""
    counts = Counter(row.label for row in rows)
    draw = random.Random(seed)
    shown = list(rows)
    for label, count in sorted(counts.items(), key=str):
        mine = [row for row in rows if row.label == label]
        missing = min(max(counts.values()), MOST_REPEATS * count) - count
        shown += mine * (missing // count) + draw.sample(mine, missing % count)
    return shown


def class_counts(rows: Sequence[Row]) -> list[int]:
    """Return how many rows each of :data:`LABELS` has."""
    counts = Counter(row.label for row in rows)
    return [counts[label] for label in range(len(LABELS))]
