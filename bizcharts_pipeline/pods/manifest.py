"""Manifest of a folder: size and SHA-256 of each file, to verify transfers."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bizcharts_pipeline.core.files import open_regular
from bizcharts_pipeline.pods.errors import TransferError

Manifest = Mapping[str, "Entry"]  # by relative path, with '/' as separator
LEFT_OUT = "__pycache__"
MAX_FILES = 100_000
MAX_BYTES = 20 * 10**9
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """Expected size and hash of a file."""

    size: int
    sha256: str


def of_folder(folder: Path) -> dict[str, Entry]:
    """Return the manifest of a local folder that is to be sent to a pod.

    Raises:
        TransferError: it contains an entry that cannot be sent: a link, a device, a name with a line break.
    """
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != LEFT_OUT]
        for name in (*folders, *names):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()) or not is_plain(relative):
                raise TransferError(f"{path!s:.200} cannot be sent: not a regular file or folder, or an unsafe name")
            if path.is_file():
                found[relative] = entry(path)
    return found


def entry(path: Path) -> Entry:
    """Return size and hash of a file to transfer to or from a pod."""
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256")
        return Entry(file.tell(), digest.hexdigest())


def parse(answer: object) -> dict[str, Entry]:
    """Return the manifest that a pod sent as ``{"files": {path: {"size", "sha256"}}}``.

    Raises:
        TransferError: it is malformed, or has a path outside its folder: pods are untrusted.
    """
    files = answer.get("files") if isinstance(answer, dict) else None
    if not isinstance(files, dict) or len(files) > MAX_FILES:
        raise TransferError("The pod's list of files is malformed or too long")
    found = {}
    for path, one in files.items():
        match one:
            case {"size": int(size), "sha256": str(digest)} if size >= 0 and _DIGEST.fullmatch(digest):
                found[path] = Entry(size, digest)
            case _:
                raise TransferError(f"The pod's list of files is malformed at {path!r:.80}")
        if not is_plain(path):
            raise TransferError(f"The pod's list of files has an unsafe path: {path!r:.80}")
    if sum(one.size for one in found.values()) > MAX_BYTES:
        raise TransferError(f"The pod's results have more than {MAX_BYTES:,} bytes; nothing was copied")
    return found


def is_plain(path: str) -> bool:
    """Return whether a relative path, as a pod may send it, stays inside its folder and has no character with a
    special meaning."""
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(parts) and not path.startswith("-")


def differing(folder: Path, wanted: Manifest) -> list[str]:
    """Return the paths of a pod's files ``wanted`` that are missing or different in the local ``folder``."""
    return [path for path, one in wanted.items() if not _is(folder, path, one)]


def _is(folder: Path, path: str, wanted: Entry) -> bool:
    file = folder / PurePosixPath(path)
    within = file.resolve().is_relative_to(folder.resolve())
    return within and file.is_file() and file.stat().st_size == wanted.size and entry(file) == wanted
