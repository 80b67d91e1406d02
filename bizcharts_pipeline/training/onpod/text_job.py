"""Common part of the scripts that train text models: data in; calibrated model, scores and report out.

``data/spec.json``: the parameters. ``data/text.json``: ``[{"text", "label", "group"}]``, labels 0 to 2; near-duplicates
share a group. ``data/gold.json``: ``[{"thread_id", "text"}]``, to be scored.

The temperature is fitted with a model trained on four fifths of the groups and evaluated on the rest; the model that is
kept is trained on all.
"""

import json
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from calibration import fit_temperature, log_softmax
from checks import MIN_GROUPS_PER_CLASS, class_problem, gold_text_problem, text_row_problem
from messages import Say, reporting
from outcome import BadInput, exit_status
from report import figures

DATA, OUTPUT = Path("data"), Path("output")
FOLDS = MIN_GROUPS_PER_CLASS
_PACKAGES = ("torch", "transformers", "peft", "setfit", "sentence-transformers", "safetensors", "scikit-learn")


class Model(Protocol):
    """A trained model."""

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the trained text model's uncalibrated log-probabilities of the classes: (texts, 3)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the trained text model's files into the existing ``folder``."""
        ...


Train = Callable[[list[str], list[int]], Model]


@dataclass(frozen=True)
class Posts:
    """Posts to train on and to score."""

    texts: list[str]
    labels: list[int]
    groups: list[int]
    gold: list[tuple[int, str]]  # thread and text


def main(prepare: Callable[[dict[str, Any], Say], tuple[Train, dict[str, Any]]]) -> int:
    """Run a training job of a text model on a pod, and return the process's exit status.

    Args:
        prepare: takes the specification and the reporting function; returns the training function, and a description
            of the base for the report.
    """
    try:
        with reporting() as say:
            _job(prepare, say)
    except Exception as error:
        traceback.print_exc()
        return exit_status(error)
    return 0


def _job(prepare: Callable[[dict[str, Any], Say], tuple[Train, dict[str, Any]]], say: Say) -> None:
    began = time.monotonic()
    spec, posts = _read_json(Path(sys.argv[1]), dict), read_posts(DATA)
    train, about = prepare(spec, say)
    kept, held_out = _split(posts, int(spec["seed"]))
    say("stage", stage="calibrating", posts=len(kept))
    judged = train([posts.texts[i] for i in kept], [posts.labels[i] for i in kept])
    predicted, truth = (
        judged.log_probabilities([posts.texts[i] for i in held_out]),
        np.array([posts.labels[i] for i in held_out]),
    )
    temperature = fit_temperature(predicted, truth)
    say("stage", stage="training", posts=len(posts.texts))
    model = train(posts.texts, posts.labels)
    gold = model.log_probabilities([text for _, text in posts.gold]).tolist() if posts.gold else []
    adapter = OUTPUT / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)  # left by an interrupted run
    adapter.mkdir(parents=True)
    model.save(adapter)
    (adapter / "calibration.json").write_text(json.dumps({"temperature": temperature}) + "\n")
    validation = {
        "before": figures(np.exp(predicted), truth, int(spec["seed"])),
        "after": figures(np.exp(log_softmax(predicted / temperature)), truth, int(spec["seed"])),
    }
    scores = {
        "validation": [
            {"row": i, "label": posts.labels[i], "log_p": row}
            for i, row in zip(held_out, predicted.tolist(), strict=True)
        ],
        "gold": [{"thread_id": thread, "log_p": row} for (thread, _), row in zip(posts.gold, gold, strict=True)],
        "temperature": temperature,
    }
    report = {
        **about,
        "posts": len(posts.texts),
        "validation": validation,
        "temperature": temperature,
        "versions": {"python": platform.python_version(), **_versions()},
        "gpu": _gpu(),
        "seconds": round(time.monotonic() - began, 1),
    }
    (OUTPUT / "scores.json").write_text(json.dumps(scores) + "\n")
    (OUTPUT / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    say("done", seconds=report["seconds"], temperature=temperature, accuracy=validation["after"].get("accuracy"))


def read_posts(folder: Path) -> Posts:
    """Return the posts in ``folder`` on which a text model is trained, and those that it scores.

    Raises:
        BadInput: a file is missing or malformed.
    """
    rows, gold = _read_json(folder / "text.json", list), _read_json(folder / "gold.json", list)
    problems = [f"text.json, row {n}: {why}" for n, row in enumerate(rows) if (why := text_row_problem(row))]
    problems += [f"gold.json, row {n}: {why}" for n, row in enumerate(gold) if (why := gold_text_problem(row))]
    if problems or (why := class_problem(rows)):
        raise BadInput(f"{folder}: {problems[0] if problems else why}")
    return Posts(
        [row["text"] for row in rows],
        [row["label"] for row in rows],
        [row["group"] for row in rows],
        [(row["thread_id"], row["text"]) for row in gold],
    )


def _split(posts: Posts, seed: int) -> tuple[list[int], list[int]]:
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    kept, held_out = next(folds.split(posts.labels, posts.labels, posts.groups))
    return kept.tolist(), held_out.tolist()


def _read_json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error})") from None
    if not isinstance(value, kind):
        raise BadInput(f"{path} does not hold a {kind.__name__}")
    return value


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
