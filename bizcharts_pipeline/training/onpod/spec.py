"""Specification of a training: ``spec.json``, parsed strictly."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bases import REVISIONS
from outcome import BadInput


@dataclass(frozen=True)
class Spec:
    """Parameters of one training. The same specification, data and machine give the same adapter."""

    base: str  # a hub's name, or a folder
    revision: str | None  # commit of the base; None: a folder, or the pinned one
    seed: int
    quantise: str  # 'nf4': 4-bit weights; 'none'
    rank: int
    alpha: int
    dropout: float
    targets: str  # 'linear' or 'qv'
    freeze_vision: bool
    epochs: float
    learning_rate: float
    batch: int  # posts per forward pass
    accumulate: int  # passes per step
    balance: bool
    min_pixels: int
    max_pixels: int
    patience: int  # evaluations without improvement after which training stops
    parent: str | None  # model whose adapter, in data/parent, training starts from; None: a new adapter
    resume: str | None  # folder of a checkpoint from another machine

    @property
    def local(self) -> bool:
        """Whether the base model of the training is a local folder, so that no hub is contacted."""
        return Path(self.base).is_dir()

    @property
    def commit(self) -> str | None:
        """The base model's commit on its hub; the pinned one by default."""
        return None if self.local else self.revision or REVISIONS[self.base]

    def fingerprint(self, *data: bytes) -> str:
        """Return a hash of all inputs that determine the result of the training; only checkpoints with the same hash
        are resumed."""
        decisive = {name: value for name, value in asdict(self).items() if name != "resume"}
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        for content in data:
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "base": bool,
    "revision": lambda value: not value or bool(re.fullmatch("[0-9a-f]{40}", value)),
    "seed": lambda value: 0 <= value < 2**32,
    "quantise": lambda value: value in ("nf4", "none"),
    "rank": lambda value: value >= 1,
    "alpha": lambda value: value >= 1,
    "dropout": lambda value: 0 <= value < 1,
    "targets": lambda value: value in ("linear", "qv"),
    "epochs": lambda value: value > 0,
    "learning_rate": lambda value: value > 0,
    "batch": lambda value: value >= 1,
    "accumulate": lambda value: value >= 1,
    "min_pixels": lambda value: value >= 28 * 28,
    "max_pixels": lambda value: value >= 28 * 28,
    "patience": lambda value: value >= 1,
}


def read_spec(path: Path) -> Spec:
    """Return the specification of a training in ``path``.

    Raises:
        BadInput: it cannot be read, a field is missing or unknown, or a value is invalid.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from None
    names = [field.name for field in fields(Spec)]
    if not isinstance(values, dict):
        raise BadInput(f"{path}: not an object")
    if odd := set(names) ^ values.keys():
        raise BadInput(f"{path}: fields missing or unknown: {', '.join(sorted(odd))}")
    for field in fields(Spec):
        value = values[field.name]
        if not _is(value, field.type) or not _CHECKS.get(field.name, lambda _: True)(value):
            raise BadInput(f"{path}: {field.name} must be a valid {field.type}, not {value!r:.60}")
    spec = Spec(**values)
    if spec.max_pixels < spec.min_pixels:
        raise BadInput(f"{path}: max_pixels is less than min_pixels")
    if not spec.local and not spec.revision and spec.base not in REVISIONS:
        raise BadInput(f"{path}: base {spec.base!r:.80} is neither a local folder nor a known base; name its revision")
    return spec


def _is(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of a field's type; an integer is also a float, but a Boolean is not a number."""
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)
