"""Where the pretrained model is that a fine-tuned one was made from: a folder, or the Hugging Face hub's local cache.

Nothing is downloaded unless ``BIZCHARTS_HUB_DOWNLOADS=true`` is set: a scoring run that fetches half a gigabyte by
itself is a surprise, and a training that takes whatever a branch holds today cannot be repeated. A download therefore
names a commit. What was found is named by what it is: a hub's commit, or the hash of a folder's files.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import key_address_problem

DOWNLOADS = "BIZCHARTS_HUB_DOWNLOADS"
ENDPOINT = "HF_ENDPOINT"  # as the hub's library reads it
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
_SENTENCE = ("modules.json", "*_Pooling/config.json", "sentence_bert_config.json")  # what sentence-transformers adds
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NoBase(BizchartsError):
    """A pretrained model is not on this machine, or is not the one that is meant."""


@dataclass(frozen=True)
class Base:
    """A pretrained model at hand."""

    folder: Path
    name: str  # on the hub; of a folder its name
    revision: str  # the hub's commit; of a folder the start of ``sha256``
    sha256: str  # of its weights and its configuration, the names of the classes included


def find_base(base: str, revision: str = "") -> Base:
    """Return the model that ``base``, a folder or a hub's name, stands for.

    Args:
        base: a folder with ``config.json``, ``model.safetensors`` and a tokenizer, or ``owner/name``.
        revision: the hub's commit; empty: the one that this machine has under the branch ``main``. Of a folder, if
            given, what :attr:`Base.revision` said of it.

    Raises:
        NoBase: it is not here, is another, or keeps its weights as a pickle.
    """
    folder = Path(base).expanduser()
    if folder.is_dir():
        sha256 = _fingerprint(folder)
        if revision and not sha256.startswith(revision):
            raise NoBase(f"{folder} holds another model ({sha256[:12]}) than the one that is meant ({revision[:12]}).")
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
    download = os.environ.get(DOWNLOADS, "").lower() in ("1", "true", "yes")
    if download and not _COMMIT.fullmatch(revision):
        raise NoBase(
            f"{name} is downloaded at a commit only: choose one under https://huggingface.co/{name}/commits/main that "
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
                f"{folder} has no {name} that can be read. Weights as a pickle are not loaded: take a revision that "
                f"has {WEIGHTS}, or save the model anew with transformers (safe_serialization)."
            ) from None
    return whole.hexdigest()
