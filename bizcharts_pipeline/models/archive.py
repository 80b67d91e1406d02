"""A model's folder as one file, and back: a plain tar in which the same model gives the same bytes.

A tar from elsewhere may hold anything: links, devices, names that lead out of the folder, more bytes than the disk.
Only regular files with the names and endings that a model may have are taken out of it.
"""

import io
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from bizcharts_pipeline.sentiment.artifact import MANIFEST as MODEL_JSON
from bizcharts_pipeline.sentiment.artifact import SAFE_ENDINGS, Artifact, CorruptModel

MAX_FILES = 500
MAX_BYTES = 2 * 2**30 - 1  # of the tar; GitHub takes no larger file
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def pack(folder: Path, artifact: Artifact, into: Path) -> None:
    """Write the model in ``folder``, verified before, to the file ``into``: below a folder named by its version."""
    with tarfile.open(into, "x:", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([MODEL_JSON, *artifact.files]):
            path = folder / name
            entry = tarfile.TarInfo(f"{artifact.model_version}/{name}")
            entry.size, entry.mode = path.stat().st_size, 0o644  # no owner, no time
            with path.open("rb") as file:
                tar.addfile(entry, file)


def unpack(archive: Path, model_version: str, into: Path) -> None:
    """Take the files of a model out of ``archive`` into the empty folder ``into``.

    Raises:
        CorruptModel: it is no such tar, or holds something that no model has.
    """
    whole = archive.stat().st_size
    try:
        with tarfile.open(archive, "r:") as tar:
            for number, entry in enumerate(tar):
                if number >= MAX_FILES:
                    raise CorruptModel(f"{archive.name} holds more than {MAX_FILES} files")
                name = _safe_name(archive, entry, model_version)
                target = into / name
                if entry.size > whole or target.exists():
                    raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is there twice, or longer than the tar")
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(entry) or io.BytesIO()
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CorruptModel(f"{archive.name} cannot be unpacked ({type(error).__name__}: {error!s:.200})") from None


def _safe_name(archive: Path, entry: tarfile.TarInfo, model_version: str) -> str:
    """Return the name of a file below the model's folder; refuse all that is no plain file with a plain name."""
    if not entry.isreg() or entry.issparse():
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is no plain file")
    top, *parts = entry.name.split("/")
    if top != model_version or not parts or not all(_NAME.fullmatch(part) for part in parts):
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is no name that a model's file has")
    if PurePosixPath(parts[-1]).suffix not in SAFE_ENDINGS:
        raise CorruptModel(f"{archive.name}: {entry.name!r:.200} is of no kind that a model may have")
    return "/".join(parts)
