"""Finds the pretrained base model of a fine-tuned one: in a folder, or in the Hugging Face hub's local cache.

Nothing is downloaded unless ``BIZCHARTS_HUB_DOWNLOADS=true`` is set: a scoring run should not fetch half a gigabyte by
itself, and a training that uses a branch's current state cannot be repeated. So a download requires a commit. A base is
identified by a hub's commit, or by the hash of a folder's files.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import DOWNLOADS, is_switched_on, key_address_problem

ENDPOINT = "HF_ENDPOINT"  # as read by the hub's library
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
_SENTENCE = ("modules.json", "*_Pooling/config.json", "sentence_bert_config.json")  # added by sentence-transformers
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NoBase(BizchartsError):
    """A pretrained model is not on this machine, or differs from the expected one."""


@dataclass(frozen=True)
class Base:
    """A pretrained model on this machine."""

    folder: Path
    name: str  # on the hub, or of the folder
    revision: str  # the hub's commit, or the start of ``sha256`` for a folder
    sha256: str  # of weights and configuration, which includes the names of the classes


def find_base(base: str, revision: str = "") -> Base:
    """Return the pretrained text model ``base``, a folder or a hub's name.

    Args:
        base: a folder with ``config.json``, ``model.safetensors`` and a tokenizer, or ``owner/name``.
        revision: the hub's commit; empty: the local one of the branch ``main``. For a folder, the expected
            :attr:`Base.revision`, if given.

    Raises:
        NoBase: it is not on this machine, differs from ``revision``, or has its weights only as a pickle.
    """
    folder = Path(base).expanduser()
    if folder.is_dir():
        sha256 = _fingerprint(folder)
        if revision and not sha256.startswith(revision):
            raise NoBase(f"{folder} contains another model ({sha256[:12]}) than expected ({revision[:12]}).")
        return Base(folder, folder.resolve().name, sha256[:40], sha256)
    if not _HUB_NAME.fullmatch(base):
        raise NoBase(f"{base} is neither a folder nor the name of a model on the Hugging Face hub (owner/name).")
    folder = _from_hub(base, revision)
    return Base(folder, base, folder.name, _fingerprint(folder))


def _from_hub(name: str, revision: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise NoBase("Pretrained models need packages that are not installed: run `make install-ml`.") from None
    download = is_switched_on(DOWNLOADS)
    if download and not _COMMIT.fullmatch(revision):
        raise NoBase(
            f"{name} needs a download at a commit: choose one under https://huggingface.co/{name}/commits/main that "
            f"has {WEIGHTS}, and set its 40 digits as the revision."
        )
    endpoint = os.environ.get(ENDPOINT, "").strip()
    if download and endpoint and (problem := key_address_problem(endpoint)):
        raise NoBase(f"{ENDPOINT} {problem}")
    try:
        found = snapshot_download(
            name,
            revision=revision or "main",
            local_files_only=not download,
            allow_patterns=[CONFIG, WEIGHTS, *_TOKENIZER, *_SENTENCE],
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if download:
            raise NoBase(f"{name} at {revision} cannot be downloaded ({type(error).__name__}); try again.") from None
        raise NoBase(
            f"{name}{f' at {revision}' if revision else ''} is not on this machine. Set {DOWNLOADS}=true and its "
            f"commit to fetch it from the hub (HF_TOKEN if it asks for one), or name a folder that holds it."
        ) from None
    return Path(found)


def _fingerprint(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            with (folder / name).open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            raise NoBase(
                f"{folder} has no readable {name}. Weights as a pickle are not loaded: choose a revision that "
                f"has {WEIGHTS}, or save the model again with transformers (safe_serialization)."
            ) from None
    return whole.hexdigest()
