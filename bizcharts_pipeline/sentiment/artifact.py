"""Files of a trained model: ``home/models/<model version>/``, each verified by its hash.

``model.json`` describes the model and lists each file with its SHA-256; the hash of ``model.json`` itself is stored in
``model_versions``, so any change in the folder is detected. The version starts with that hash: identical files have the
same version, whenever they were made. Weights are safetensors, the rest is JSON or text; nothing is unpickled.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, open_regular, read_regular, sync, write_atomically

MODELS = "models"  # below the home
MANIFEST = "model.json"
TRAINED_ON = "trained_on.json"  # the training posts: a list of {"thread_id", "label", "text_sha256"}
SAFE_ENDINGS = {".safetensors", ".json", ".txt", ".jinja", ".model", ".md", ".onnx"}
MAX_MANIFEST_BYTES = 4_000_000


class CorruptModel(BizchartsError):
    """A model's files differ from the registered ones and are not loaded."""


@dataclass(frozen=True)
class Artifact:
    """Content of ``model.json``."""

    kind: str  # 'tfidf', 'setfit', …: determines the code that runs it
    base_model: str | None  # name on the hub or of a package; None: trained from scratch
    base_revision: str | None
    dataset_version: str
    code_version: str
    seed: int
    settings: Mapping[str, Any]
    files: Mapping[str, str]  # relative path: SHA-256 in hexadecimal

    @property
    def content(self) -> bytes:
        """The bytes of a sentiment model's manifest, ``model.json``."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @property
    def sha256(self) -> str:
        """The hash of a sentiment model's manifest, stored in ``model_versions``."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def model_version(self) -> str:
        """The name of this sentiment model, from its kind and the hash of its manifest."""
        return f"{self.kind}-{self.sha256[:12]}"


def training_posts(folder: Path) -> list[dict[str, Any]]:
    """Return the posts that the sentiment model in ``folder`` was trained on, as :data:`TRAINED_ON` lists them.

    Raises:
        OSError, ValueError: the list cannot be read.
    """
    posts: list[dict[str, Any]] = json.loads(read_regular(folder / TRAINED_ON))
    return posts


@contextmanager
def new_model(home: Path) -> Iterator[Path]:
    """Yield an empty folder for training a sentiment model, next to the finished ones; it is deleted afterwards unless
    :func:`publish` has renamed it.
    """
    unfinished = home / MODELS / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    unfinished.mkdir(parents=True, mode=0o700)
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def publish(
    unfinished: Path,
    home: Path,
    *,
    kind: str,
    base_model: str | None,
    base_revision: str | None,
    dataset_version: str,
    code_version: str,
    seed: int,
    settings: Mapping[str, Any],
) -> Artifact:
    """Write the manifest ``model.json`` of a trained sentiment model for the files of ``unfinished`` and rename the
    folder atomically to its final name. An intact existing copy is kept; a damaged one is replaced.

    Raises:
        CorruptModel: a file is a link, or of a type that is unknown or could run code (see :data:`SAFE_ENDINGS`).
    """
    files = {path.relative_to(unfinished).as_posix(): _digest(path) for path in _files(unfinished)}
    artifact = Artifact(kind, base_model, base_revision, dataset_version, code_version, seed, settings, files)
    write_atomically(unfinished / MANIFEST, artifact.content)
    for path in unfinished.rglob("*"):
        sync(path)
    target = model_path(home, artifact.model_version)
    if target.exists() and not _is_intact(target, artifact.sha256):
        remove_model(target)
    if target.exists():
        os.utime(target)  # counts as new, however old it is
    else:
        unfinished.rename(target)
        sync(target.parent)
    return artifact


def model_path(home: Path, model_version: str) -> Path:
    """Return the folder of a sentiment model's files."""
    return home / MODELS / model_version


def remove_model(folder: Path) -> None:
    """Delete a sentiment model's files; to readers, they disappear atomically."""
    doomed = folder.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def read_artifact(folder: Path, sha256: str) -> Artifact:
    """Return a sentiment model's manifest, after verifying every file against ``sha256``.

    Raises:
        CorruptModel: the folder or a file is missing, unreadable, changed, added, a link, or of a type that is not
            loaded.
    """
    try:
        with open_regular(folder / MANIFEST) as file:
            content = file.read(MAX_MANIFEST_BYTES)
    except OSError as error:
        raise CorruptModel(f"{folder}: {MANIFEST} cannot be read ({error.strerror}); train the model again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CorruptModel(f"{folder}: {MANIFEST} is not the registered one; train the model again")
    artifact = Artifact(**json.loads(content))
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if odd := present.keys() ^ artifact.files.keys():
        name = min(odd)
        raise CorruptModel(f"{folder}: {name} is {'not of this model' if name in present else 'missing'}")
    for name, path in present.items():
        if _digest(path) != artifact.files[name]:
            raise CorruptModel(f"{folder}: {name} was changed; train the model again")
    return artifact


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise CorruptModel(f"{path} is a link; a model must consist of regular files")
        if path.is_file() and path != folder / MANIFEST:
            if path.suffix not in SAFE_ENDINGS:
                raise CorruptModel(f"{path} has a file type not allowed in models ({', '.join(sorted(SAFE_ENDINGS))})")
            yield path


def _digest(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorruptModel(f"{path} cannot be read ({error.strerror}); train the model again") from None


def _is_intact(folder: Path, sha256: str) -> bool:
    try:
        read_artifact(folder, sha256)
    except CorruptModel:
        return False
    return True
