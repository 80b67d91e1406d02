"""Names of pods: they say whose pod it is and what it works on, so that a lost answer loses no pod."""

import re

from bizcharts_pipeline.pods.identity import KEY_LENGTH
from bizcharts_pipeline.pods.protocol import NAME_LENGTH


def pod_name(prefix: str, key: str) -> str:
    """Return the name that every pod of the job ``key`` has."""
    name = f"{prefix}-{key}"
    assert len(name) <= NAME_LENGTH, name
    assert key_of(prefix, name) == key, name
    return name


def key_of(prefix: str, name: str) -> str | None:
    """Return the key of the job that a pod of this name works on; ``None``: the pod is not ours, and not to be
    touched."""
    found = re.fullmatch(rf"{re.escape(prefix)}-([0-9a-f]{{{KEY_LENGTH}}})", name)
    return found and found[1]
