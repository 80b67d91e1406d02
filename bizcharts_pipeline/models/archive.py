"""Packs a model's folder into a reproducible tar file, and unpacks one safely.

A tar from elsewhere may hold anything: links, devices, paths that leave the folder, more bytes than the disk has. Only
regular files with the names and extensions of model files are extracted.
"""

import io
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.sentiment.artifact import MANIFEST as MODEL_JSON
from bizcharts_pipeline.sentiment.artifact import SAFE_ENDINGS, Artifact, CorruptModel

MAX_FILES = 500
MAX_BYTES = 2 * 2**30 - 1  # of the tar; GitHub's limit per file
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def pack(folder: Path, artifact: Artifact, into: Path) -> None:
    """Write the verified model in ``folder`` to the tar ``into``, in a folder named by its version."""
    with tarfile.open(into, "x:", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([MODEL_JSON, *artifact.files]):
            path = folder / name
            entry = tarfile.TarInfo(f"{artifact.model_version}/{name}")
            entry.size, entry.mode = path.stat().st_size, 0o644  # no owner, no time
            with path.open("rb") as file:
                tar.addfile(entry, file)


def unpack(archive: Path, model_version: str, into: Path) -> None:
    """Extract a model's files from ``archive`` into the empty folder ``into``.

    Raises:
        CorruptModel: it is not such a tar, or contains an entry not allowed in a model.
    """
    archive_bytes = archive.stat().st_size
    try:
        with tarfile.open(archive, "r:") as tar:
            for number, entry in enumerate(tar):
                if number >= MAX_FILES:
                    raise CorruptModel(f"{archive.name} holds more than {MAX_FILES} files")
                name = _safe_name(archive, entry, model_version)
                target = into / name
                if entry.size > archive_bytes or target.exists():
                    raise CorruptModel(f"{archive.name}: {entry.name!r:.200} occurs twice, or is longer than the tar")
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(entry) or io.BytesIO()
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CorruptModel(f"{archive.name} cannot be unpacked ({reason_of(error):.200})") from None


def _safe_name(archive: Path, entry: tarfile.TarInfo, model_version: str) -> str:
    """Return the name of a file below the model's folder; refuse entries other than regular files with plain names."""
    if not entry.isreg() or entry.issparse():
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is not a regular file")
    top, *parts = entry.name.split("/")
    if top != model_version or not parts or not all(_NAME.fullmatch(part) for part in parts):
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is not an allowed name of a model file")
    if PurePosixPath(parts[-1]).suffix not in SAFE_ENDINGS:
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} has an extension not allowed in a model")
    return "/".join(parts)
