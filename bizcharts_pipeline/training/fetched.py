"""The files that a pod brought, verified before anything is made of them.

A result is broken when its own content is at fault, and stays so however often it is tried. What this machine lacks at
the moment (space on the disk, a library) is no fault of the result.
"""

import json
import shutil
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.artifact import CorruptModel, model_path
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.training.recipe import BrokenResult

WEIGHTS = ".safetensors"
MAX_HEADER_BYTES = 100_000_000  # of a safetensors file, by its specification


def take_files(source: Path, target: Path) -> None:
    """Copy the files of the fetched folder ``source`` into ``target``, made where it is missing.

    Raises:
        BrokenResult: there is no whole safetensors file among them, or a link.
        OSError: they cannot be written here.
    """
    paths = sorted(source.rglob("*"))
    if links := [path for path in paths if path.is_symlink()]:
        raise BrokenResult(f"the result is not whole: {links[0]} is a link")
    files = [path for path in paths if path.is_file()]
    weights = [path for path in files if path.suffix == WEIGHTS]
    if not weights:
        raise BrokenResult(f"the result is not whole: {source} has no {WEIGHTS} file")
    for path in weights:
        _require_whole_weights(path)
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        named = target / path.relative_to(source)
        named.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, named)


def require_runs(home: Path, model_version: str, sha256: str) -> None:
    """See that the model published below ``home`` can be loaded and asked, as far as this machine can tell.

    Raises:
        BrokenResult: its files are at fault.
        CorruptModel: they are of a kind that is not loaded.
    """
    try:
        load_scorer(model_path(home, model_version), sha256).score([Post("", "is it over?")])
    except CorruptModel:
        raise
    except (BizchartsError, ImportError, MemoryError):
        return  # a base or a library is not on this machine
    except Exception as error:  # loaders of broken files raise whatever they please
        raise BrokenResult(f"the result is not whole: the model cannot be loaded ({error!r:.200})") from None


def _require_whole_weights(path: Path) -> None:
    """Compare the size of a safetensors file with what its header says: eight bytes of length, JSON, data."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("a header longer than the file")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BrokenResult(f"the result is not whole: {path.name} is no safetensors file ({error!r:.100})") from None
    if size != whole:
        raise BrokenResult(f"the result is not whole: {path.name} has {size:,} bytes of {whole:,}")
