"""A task that only a model which sees and reads can do, and the pod's scripts run on it as on a pod."""

import functools
import importlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from dagster_pipes import encode_param
from PIL import Image, ImageDraw

import bizcharts_pipeline.training.onpod as onpod
from bizcharts_pipeline.text.question import question

CODE = Path(onpod.__file__).parent
LABELS = ("bearish", "neutral", "bullish")
COLOURS = ((220, 30, 30), (40, 40, 40), (30, 220, 60))
WORDS = (("rug", "dump"), ("chart", "coin"), ("moon", "pump"))
CORPUS = [question(" ".join(word for words in WORDS for word in words), picture=True) + " bearish neutral bullish"] * 40
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "BIZCHARTS_"))} | {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SPEC = {
    "revision": None,
    "seed": 7,
    "quantise": "nf4",
    "rank": 16,
    "alpha": 32,
    "dropout": 0.05,
    "targets": "linear",
    "freeze_vision": True,
    "epochs": 4,
    "learning_rate": 8e-3,
    "batch": 16,
    "accumulate": 1,
    "balance": True,
    "min_pixels": 4 * 28 * 28,
    "max_pixels": 9 * 28 * 28,
    "patience": 20,
    "parent": None,
    "resume": None,
}


def module(name: str) -> ModuleType:
    """Return a module of the pod's, loaded once."""
    return _modules()[name]


@functools.cache
def _modules() -> dict[str, ModuleType]:
    """Load the pod's modules, which import each other by bare names: to be found so for the time of this only.

    Small tensors on several threads wait for each other, minutes beside a busy neighbour: they get one, as in a process
    of its own.
    """
    import torch

    torch.set_num_threads(1)
    names = [path.stem for path in CODE.glob("*.py") if path.stem != "__init__"]
    before = set(sys.modules)
    sys.path.insert(0, str(CODE))
    try:
        return {name: importlib.import_module(name) for name in _NEEDED}
    finally:
        sys.path.remove(str(CODE))
        for name in set(names) - before:
            sys.modules.pop(name, None)


_NEEDED = (
    *(
        "bases",
        "calibration",
        "checks",
        "checkpoints",
        "evaluate_qwen",
        "hub",
        "judge",
        "model",
        "outcome",
        "processor",
    ),
    *("queue_worker", "report", "rows", "scoring", "serve_qwen", "spec", "train_qwen"),
)


def make_rows(folder: Path, count: int, seed: int, shares: tuple[int, int, int] = (1, 1, 1)) -> list[dict[str, Any]]:
    """Return rows whose class is shown by a picture's colour, or said by a word, with their pictures in ``folder``."""
    draw = random.Random(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        label = draw.choices(range(3), shares)[0]
        seen = draw.random() < 0.6
        words = draw.choices(WORDS[1 if seen else label], k=3)
        images = []
        if seen:
            images = [f"images/{seed}-{number}.jpg"]
            colour = tuple(value + draw.randint(-20, 20) for value in COLOURS[label])
            picture = Image.new("RGB", (60 + draw.randrange(40), 60 + draw.randrange(40)), colour)
            ImageDraw.Draw(picture).line([0, draw.randrange(60), 60, draw.randrange(60)], (250, 250, 250), 2)
            picture.save(folder / images[0])
        asked = question(" ".join(words), picture=seen)
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": LABELS[label]}]
        rows.append({"messages": messages, "images": images})
    return rows


def make_job(root: Path, base: Path, train: int, validation: int, gold: int, **changes: Any) -> Path:
    """Lay out a job's folder as it is on a pod and return the true labels' file of its gold posts, which is outside."""
    data = root / "data"
    dataset, gold_folder = data / "dataset", data / "gold"
    for split, count, seed in (("train", train, 1), ("validation", validation, 2)):
        if count:
            rows = make_rows(dataset, count, seed)
            (dataset / f"{split}.json").write_text(json.dumps(rows))
    rows = make_rows(gold_folder, gold, 3)
    asked = [
        {"thread_id": 900 + n, "question": row["messages"][0]["content"], "images": row["images"]}
        for n, row in enumerate(rows)
    ]
    (gold_folder / "gold.json").write_text(json.dumps(asked))
    (data / "spec.json").write_text(json.dumps(SPEC | {"base": str(base)} | changes))
    truth = root.parent / f"{root.name}-truth.json"
    truth.write_text(json.dumps([LABELS.index(row["messages"][1]["content"]) for row in rows]))
    return truth


def run(root: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the pod's in a job's folder."""
    return subprocess.run(
        [sys.executable, str(CODE / command[0]), *command[1:]],
        cwd=root,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def run_until(root: Path, step: int) -> int:
    """Train until the log tells of ``step``, kill the process there and then, and return its status."""
    command = [sys.executable, str(CODE / "train_qwen.py"), "data/spec.json"]
    with subprocess.Popen(
        command, cwd=root, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        for message in said(process.stdout):
            if message["kind"] == "metrics" and message["step"] >= step:
                process.send_signal(signal.SIGKILL)
                break
    return process.returncode


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first."""
    found = folder.glob("checkpoint-*")
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def pipes(messages: Path) -> dict[str, str]:
    """Return the environment that Dagster gives a process whose messages it reads from a file."""
    context = {
        **{"asset_keys": None, "code_version_by_asset_key": None, "provenance_by_asset_key": None},
        **{"partition_key": None, "partition_key_range": None, "partition_time_window": None},
        **{"run_id": "run", "job_name": None, "retry_number": 0, "extras": {}},
    }
    values = {"DAGSTER_PIPES_CONTEXT": {"data": context}, "DAGSTER_PIPES_MESSAGES": {"path": str(messages)}}
    return {name: encode_param(value) for name, value in values.items()}


def said(lines: Any) -> Iterator[dict[str, Any]]:
    """Yield the messages among the lines of a log."""
    for line in lines:
        if line.startswith('{"kind"'):
            yield json.loads(line)
