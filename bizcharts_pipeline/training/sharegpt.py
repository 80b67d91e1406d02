"""Format of the ShareGPT data set for LLaMA-Factory and TRL, and a strict reader.

A folder holds ``train.json`` and ``validation.json``, lists of rows

    {"messages": [{"role": "user", "content": "<image>\\nClassify …"}, {"role": "assistant", "content": "bearish"}],
     "images": ["images/<SHA-256>.jpg"]}

with paths relative to it, so that it can be moved (with too few rows for a validation split that file is missing,
because loaders reject an empty list); ``dataset_info.json``, by which LLaMA-Factory finds them; ``rows.json`` with the
post of each row; ``datasheet.md``; and ``manifest.json`` with the SHA-256 of every file.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.text.question import PICTURE, question
from bizcharts_pipeline.training.examples import Example
from bizcharts_pipeline.training.onpod_checks import CheckFailed, dataset_problems

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)
INFO, ROWS, DATASHEET, MANIFEST = "dataset_info.json", "rows.json", "datasheet.md", "manifest.json"
IMAGES = "images"

_IMAGE_PATH = re.compile(r"images/([0-9a-f]{64})\.(?:jpg|png|gif|webp)")


def row(example: Example) -> dict[str, Any]:
    """Return a training example in the trainers' format, with one ``<image>`` if it has a picture."""
    return {
        "messages": [
            {"role": "user", "content": question(example.text, picture=example.picture is not None)},
            {"role": "assistant", "content": example.stance},
        ],
        "images": [image_name(example)] if example.picture else [],
    }


def image_name(example: Example) -> str:
    """Return the path of a training example's picture within the data set."""
    assert example.picture
    return f"{IMAGES}/{example.sha256}{example.picture.suffix}"


def about_row(example: Example, split: str) -> dict[str, Any]:
    """Return the description of a row of the training data set for ``rows.json``, which has the same order, train
    before validation."""
    posted_at = example.post.posted_at
    return {
        "split": split,
        "thread_id": example.post.thread_id,
        "posted_at": posted_at and posted_at.isoformat(),
        "labelled_by": example.labelled_by,
    }


def dataset_info(splits: Sequence[str]) -> dict[str, Any]:
    """Return LLaMA-Factory's description of the training data set's files of ``splits``; ``dataset_dir`` and
    ``media_dir`` are the folder."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    return {
        f"bizcharts_{split}": {
            "file_name": f"{split}.json",
            "formatting": "sharegpt",
            "columns": columns,
            "tags": tags,
        }
        for split in splits
    }


def validation_threads(
    examples: Sequence[Example], groups: Mapping[int, int], share: float, seed: int
) -> frozenset[int]:
    """Return the threads of the data set's validation split: ``share`` of each class, by complete groups of
    near-duplicates.

    Groups are ordered by a hash of seed and group; a group that exceeds what a class still needs goes to training.
    """
    members: defaultdict[int, list[Example]] = defaultdict(list)
    for example in examples:
        members[groups[example.post.thread_id]].append(example)
    missing = {name: round(share * count) for name, count in class_counts(examples).items()}
    chosen: list[Example] = []
    for founder in sorted(members, key=lambda thread_id: _lot(seed, thread_id)):
        wanted = class_counts(members[founder])
        if all(wanted[name] <= missing[name] for name in STANCES):
            chosen += members[founder]
            missing = {name: missing[name] - wanted[name] for name in STANCES}
    return frozenset(example.post.thread_id for example in chosen)


def class_counts(examples: Sequence[Example]) -> dict[str, int]:
    """Return the number of training examples of each class, including zeros."""
    counts = Counter(example.stance for example in examples)
    return {name: counts[name] for name in STANCES}


def as_json(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return ``rows`` of the training data set as a JSON list with one row per line."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def manifest(version: str, hashes: Mapping[str, str]) -> bytes:
    """Return the content of the training data set's manifest: the hash of the version, and the hash of each file by
    name."""
    return (json.dumps({"version": version, "files": dict(sorted(hashes.items()))}, indent=2) + "\n").encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's ``content`` in hexadecimal digits, as a training data set's manifest has it."""
    return hashlib.sha256(content).hexdigest()


def read_rows(folder: Path, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of the training data set from disk, unchecked; empty for a split without rows."""
    if f"{split}.json" not in json.loads(read_regular(folder / MANIFEST))["files"]:
        return []
    return list(json.loads(read_regular(folder / f"{split}.json")))


def format_problems(folder: Path) -> list[str]:
    """Return the problems that keep trainers from reading the data set in ``folder``, and changes since it was written.

    Stricter than the trainers: an unknown key, a path outside the folder, or a second ``<image>`` is a problem.
    Includes the on-pod script's own check, images included.
    """
    if not folder.is_dir():
        return [f"{folder} does not exist: materialise sharegpt_dataset again"]
    try:
        files = json.loads(read_regular(folder / MANIFEST))["files"]
        problems = [f"{name}: {why}" for name, sha256 in files.items() if (why := _changed(folder / name, sha256))]
        splits = {split: read_rows(folder, split) for split in SPLITS}
        abouts = json.loads(read_regular(folder / ROWS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{folder}: {reason_of(error)}"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    problems += [f"{name}: not in the manifest" for name in sorted(there - files.keys() - {MANIFEST})]
    for split, rows in splits.items():
        problems += [f"{split}.json, row {n}: {why}" for n, row in enumerate(rows) if (why := row_problem(row, files))]
    if [about.get("split") for about in abouts] != [split for split in SPLITS for _ in splits[split]]:
        problems.append(f"{ROWS} does not match {TRAIN}.json and {VALIDATION}.json")
    try:
        return problems + dataset_problems(folder)
    except CheckFailed as error:
        return [*problems, str(error)]


def row_problem(row: Any, files: Mapping[str, str]) -> str | None:
    """Return the problem of a row of the training data set whose pictures must be among ``files``; ``None`` if it is
    valid."""
    match row:
        case {
            "messages": [
                {"role": "user", "content": str(prompt), **more_of_user},
                {"role": "assistant", "content": str(answer), **more_of_assistant},
            ],
            "images": list(images),
            **more,
        } if not (more or more_of_user or more_of_assistant):
            pass
        case _:
            return "not exactly one question, one answer and a list of images"
    if answer not in STANCES:
        return f"the answer is {answer!r:.40}"
    if len(images) > 1 or prompt.count(PICTURE) != len(images) or (images and not prompt.startswith(f"{PICTURE}\n")):
        return f"{prompt.count(PICTURE)} times {PICTURE} for {len(images)} images"
    for image in images:
        if not isinstance(image, str) or not (named := _IMAGE_PATH.fullmatch(image)):
            return f"not a path of an image: {image!r:.80}"
        if files.get(image) != named[1]:
            return f"{image} is missing, or does not match the hash in its name"
    return None


def _changed(path: Path, sha256: str) -> str | None:
    try:
        return None if digest(read_regular(path)) == sha256 else "changed since it was written"
    except FileNotFoundError:
        return "missing"


def _lot(seed: int, founder: int) -> bytes:
    return hashlib.sha256(f"validation:{seed}:{founder}".encode()).digest()
