"""Search for the newest complete checkpoint of this training.

A process killed while it saves leaves an incomplete checkpoint, and the trainer's own search takes the highest number.
``trainer_state.json`` is written last, so a checkpoint without it is incomplete; a disk failure may damage more, so the
other files are opened too.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

STATE = "trainer_state.json"
OURS = "progress.json"  # state of the training's Judge
BEST = "best.safetensors"
_NEEDED = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", OURS)


def newest_complete(folders: Sequence[Path], fingerprint: str) -> tuple[Path | None, list[str]]:
    """Return the training checkpoint with the most steps in ``folders``, or ``None``; and the reasons for skipping
    others."""
    skipped, found = [], []
    for checkpoint in _candidates(folders):
        if why := problem(checkpoint, fingerprint):
            skipped.append(f"{checkpoint}: {why}")
        else:
            found.append((json.loads((checkpoint / STATE).read_bytes())["global_step"], checkpoint))
    return (max(found)[1] if found else None), skipped


def problem(checkpoint: Path, fingerprint: str) -> str | None:
    """Return why the training cannot resume a checkpoint; ``None`` if it can."""
    try:
        _read_json(checkpoint / STATE)["global_step"]
        if _read_json(checkpoint / OURS)["fingerprint"] != fingerprint:
            return "of another training"
        for name in (*_NEEDED, *([BEST] if (checkpoint / BEST).exists() else [])):
            path = checkpoint / name
            if path.suffix == ".safetensors":
                with safe_open(path, framework="np"):
                    pass  # it compares the tensors' sizes with the file's
            elif path.suffix != ".json" and not zipfile.is_zipfile(path):
                return f"{name} is incomplete"
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        return f"incomplete ({type(error).__name__}: {error})"
    return None


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if (folder / STATE).exists():
            yield folder
        yield from sorted(path for path in folder.glob("checkpoint-*") if path.is_dir())


def _read_json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_bytes())
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return values
