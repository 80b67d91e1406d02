"""Verification of the files fetched from a pod, before a model is made of them.

A result is broken if its own content is at fault; retrying does not help. Temporary faults of this machine (disk space,
a missing library) do not make a result broken.
"""

import json
import shutil
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.sentiment.artifact import CorruptModel, model_path
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.training.recipe import BrokenResult

WEIGHTS = ".safetensors"
MAX_HEADER_BYTES = 100_000_000  # limit of the safetensors specification


def take_files(source: Path, target: Path) -> None:
    """Copy a trained model's files from the folder ``source``, fetched from a pod, into ``target``, which is created
    if missing.

    Raises:
        BrokenResult: there is no complete safetensors file, or there is a symbolic link.
        OSError: they cannot be written.
    """
    paths = sorted(source.rglob("*"))
    if links := [path for path in paths if path.is_symlink()]:
        raise BrokenResult(f"the result contains a symbolic link: {links[0]}")
    files = [path for path in paths if path.is_file()]
    weights = [path for path in files if path.suffix == WEIGHTS]
    if not weights:
        raise BrokenResult(f"the result is incomplete: {source} has no {WEIGHTS} file")
    for path in weights:
        _require_complete_weights(path)
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        named = target / path.relative_to(source)
        named.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, named)


def require_runs(home: Path, model_version: str, sha256: str) -> None:
    """Check that the model trained on a pod and published below ``home`` can be loaded and run, if this machine has
    all it needs.

    Raises:
        BrokenResult: its files are at fault.
        CorruptModel: they are of an unsupported kind.
    """
    try:
        load_scorer(model_path(home, model_version), sha256).score([Post("", "is it over?")])
    except CorruptModel:
        raise
    except (BizchartsError, ImportError, MemoryError):
        return  # a base model or a library is missing on this machine
    except Exception as error:  # loaders raise arbitrary errors for broken files
        raise BrokenResult(f"the result is broken: the model cannot be loaded ({reason_of(error):.200})") from None


def _require_complete_weights(path: Path) -> None:
    """Compare the size of a safetensors file with its header: eight bytes of length, JSON, data."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("a header longer than the file")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BrokenResult(
            f"the result is broken: {path.name} is not a safetensors file ({reason_of(error):.100})"
        ) from None
    if size != expected:
        raise BrokenResult(f"the result is incomplete: {path.name} has {size:,} bytes of {expected:,}")
