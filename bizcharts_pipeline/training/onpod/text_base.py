"""Where the pretrained text model is that a script starts from: a folder on the pod, or the hub at a commit."""

import hashlib
import re
from pathlib import Path

from hub import hub_token
from outcome import BadInput

PATTERNS = ("*.json", "*.txt", "model.safetensors", "*_Pooling/*")  # never a pickle


def fetch_base(base: str, revision: str | None) -> Path:
    """Return the folder of ``base``: a folder itself, or a hub's name, fetched at the commit ``revision``.

    ``HF_TOKEN`` of the environment is used where there is one.

    Raises:
        BadInput: it is no folder and its commit is not named, or it has no safetensors.
    """
    folder = Path(base)
    if not folder.is_dir():
        if not re.fullmatch("[0-9a-f]{40}", revision or ""):
            raise BadInput(f"{base} is no folder here, and without a commit nothing is fetched")
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(base, revision=revision, allow_patterns=list(PATTERNS), token=hub_token()))
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise BadInput(f"{base} has no {name}; weights as a pickle are not loaded")
    return folder


def fingerprint(folder: Path) -> str:
    """Return the hash of configuration and weights, by which whoever loads the result knows the base again."""
    whole = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with (folder / name).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
