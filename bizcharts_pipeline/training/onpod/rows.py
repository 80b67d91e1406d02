"""The posts to train on and to score; every image is decoded before training starts.

A trainer would meet a broken image in mid-epoch; here all problems of the data are reported at the start.
"""

import json
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks import LABELS, gold_row_problem, image_problem, labelled_row_problem, without_placeholder
from outcome import BadInput

MAX_REPEATS = 4  # of a rare class's rows; more repeats lead to memorization
THREADS = "rows.json"  # next to the splits: the thread of each row, train before validation
_MAX_NAMED = 50


@dataclass(frozen=True)
class Row:
    """A post as a question to a model."""

    name: str  # for messages: file and row
    number: int  # its position in its file, or the thread's id
    question: str  # without placeholder
    images: tuple[Path, ...]
    label: int | None  # index into LABELS; None: not sent here


@dataclass(frozen=True)
class Data:
    """All posts of a training."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]  # may be empty
    gold: tuple[Row, ...]  # without labels; may be empty
    content: tuple[bytes, ...]  # of the training and validation files


def read_data(folder: Path, special_tokens: Collection[str] = ()) -> Data:
    """Return the posts to train on and to score in ``folder`` (``dataset/`` and ``gold/``), after checking each row
    and image.

    Args:
        special_tokens: the tokenizer's; no post may contain them, because they would be interpreted.

    Raises:
        BadInput: names every problem found (the first fifty).
    """
    data, problems = examine(folder / "dataset", folder / "gold", special_tokens)
    if problems:
        more = f"\n… and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise BadInput(f"{len(problems)} problems in the data:\n" + "\n".join(problems[:_MAX_NAMED]) + more)
    return data


def examine(dataset: Path, gold: Path | None, special_tokens: Collection[str] = ()) -> tuple[Data, list[str]]:
    """Return the valid posts of a training data set and of the gold questions, and all problems with row and, if
    known, thread."""
    problems: list[str] = []
    threads = _threads(dataset)
    train = _read(dataset / "train.json", problems, threads)
    validation = _read(dataset / "validation.json", problems, threads)
    gold_rows = _read_gold(gold / "gold.json", problems) if gold else []
    if not train:
        problems.append(f"{dataset / 'train.json'}: no rows to train on")
    rows = (*train, *validation, *gold_rows)
    for row in rows:
        problems += [f"{row.name}: special token in the text: {t!r}" for t in special_tokens if t in row.question]
    images = {image: row for row in rows for image in row.images}
    problems += [f"{row.name}: {why} ({image.name})" for image, row in images.items() if (why := image_problem(image))]
    files = (dataset / "train.json", dataset / "validation.json")
    content = tuple(path.read_bytes() for path in files if path.exists())
    return Data(tuple(train), tuple(validation), tuple(gold_rows), content), problems


def _threads(dataset: Path) -> dict[str, list[Any]]:
    """Return the threads of the rows of each split; empty if the data set does not name them."""
    found: dict[str, list[Any]] = {}
    try:
        for about in json.loads((dataset / THREADS).read_bytes()):
            found.setdefault(f"{about['split']}.json", []).append(about["thread_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found


def _read(path: Path, problems: list[str], threads: dict[str, list[Any]]) -> list[Row]:
    rows = []
    known = threads.get(path.name, [])
    for number, record in enumerate(_records(path, problems)):
        thread = f" (thread {known[number]})" if number < len(known) else ""
        name = f"{path.name}, row {number}{thread}"
        if why := labelled_row_problem(record, path.parent):
            problems.append(f"{name}: {why}")
            continue
        question, answer = (message["content"] for message in record["messages"])
        images = tuple(path.parent / image for image in record["images"])
        rows.append(Row(name, number, without_placeholder(question), images, LABELS.index(answer)))
    return rows


def _read_gold(path: Path, problems: list[str]) -> list[Row]:
    rows = []
    for number, record in enumerate(_records(path, problems)):
        thread = f" (thread {record['thread_id']})" if isinstance(record, dict) and "thread_id" in record else ""
        name = f"{path.name}, row {number}{thread}"
        if why := gold_row_problem(record, path.parent):
            problems.append(f"{name}: {why}")
            continue
        images = tuple(path.parent / image for image in record["images"])
        rows.append(Row(name, record["thread_id"], without_placeholder(record["question"]), images, None))
    return rows


def _records(path: Path, problems: list[str]) -> list[Any]:
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_bytes())
        if not isinstance(records, list):
            raise ValueError("not a list of rows")
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return []
    return records


def balanced(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the training ``rows`` with rarer classes repeated, up to the size of the largest class or
    :data:`MAX_REPEATS` times."""
    counts = Counter(row.label for row in rows)
    draw = random.Random(seed)
    shown = list(rows)
    for label, count in sorted(counts.items(), key=str):
        mine = [row for row in rows if row.label == label]
        missing = min(max(counts.values()), MAX_REPEATS * count) - count
        shown += mine * (missing // count) + draw.sample(mine, missing % count)
    return shown


def class_counts(rows: Sequence[Row]) -> list[int]:
    """Return how many training rows each of :data:`LABELS` has."""
    counts = Counter(row.label for row in rows)
    return [counts[label] for label in range(len(LABELS))]
