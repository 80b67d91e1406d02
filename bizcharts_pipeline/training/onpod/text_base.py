"""The pretrained text model of a training: a folder on the pod, or the hub at a fixed commit."""

import hashlib
import re
from pathlib import Path

from hub import hub_token
from outcome import BadInput

PATTERNS = ("*.json", "*.txt", "model.safetensors", "*_Pooling/*")  # never a pickle


def fetch_base(base: str, revision: str | None) -> Path:
    """Return the folder of the pretrained text model ``base``: a local folder, or a name on the hub, downloaded at the
    commit ``revision``.

    Uses ``HF_TOKEN`` from the environment if it is set.

    Raises:
        BadInput: it is not a folder and has no commit, or it has no safetensors.
    """
    folder = Path(base)
    if not folder.is_dir():
        if not re.fullmatch("[0-9a-f]{40}", revision or ""):
            raise BadInput(f"{base} is not a local folder, and downloading it needs a commit")
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(base, revision=revision, allow_patterns=list(PATTERNS), token=hub_token()))
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise BadInput(f"{base} has no {name}; weights as a pickle are not loaded")
    return folder


def fingerprint(folder: Path) -> str:
    """Return the hash of the pretrained text model's configuration and weights, by which the loader of the result
    identifies the base."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
