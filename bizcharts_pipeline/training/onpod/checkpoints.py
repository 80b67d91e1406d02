"""Finds the newest checkpoint that is whole and of this training.

A process that is killed while it saves leaves a torn one, and the trainer's own search takes the highest number.
``trainer_state.json`` is written last, so what lacks it is torn; a lost disk may tear more, so the rest is opened too.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

STATE = "trainer_state.json"
OURS = "progress.json"  # what the judge of the training knew
BEST = "best.safetensors"
_NEEDED = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", OURS)


def newest_whole(folders: Sequence[Path], fingerprint: str) -> tuple[Path | None, list[str]]:
    """Return the checkpoint with the most steps below (or at) ``folders``, or ``None``; and why others were passed
    over, one line each."""
    passed_over, found = [], []
    for checkpoint in _candidates(folders):
        if why := problem(checkpoint, fingerprint):
            passed_over.append(f"{checkpoint}: {why}")
        else:
            found.append((json.loads((checkpoint / STATE).read_bytes())["global_step"], checkpoint))
    return (max(found)[1] if found else None), passed_over


def problem(checkpoint: Path, fingerprint: str) -> str | None:
    """Return why a checkpoint cannot be resumed; ``None``: it can."""
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
                return f"{name} is torn"
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        return f"not whole ({type(error).__name__}: {error})"
    return None


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if (folder / STATE).exists():
            yield folder
        yield from sorted(path for path in folder.glob("checkpoint-*") if path.is_dir())


def _read_json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_bytes())
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is no object")
    return values
