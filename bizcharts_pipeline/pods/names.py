"""Names of pods. A name contains the installation and the job, so that a lost answer loses no pod.

    bizcharts-1f0c2b9e-0123456789ab-5d41a2
    prefix    installation job      checksum over the three

Nobody types such a name by hand; a pod with any other name is not ours and is never touched.
"""

import hashlib
import re

from bizcharts_pipeline.pods.identity import INSTALLATION_LENGTH, KEY_LENGTH
from bizcharts_pipeline.pods.protocol import NAME_LENGTH

_CHECK_LENGTH = 6
_SHAPE = re.compile(
    rf"[a-z0-9]+-[0-9a-f]{{{INSTALLATION_LENGTH}}}-([0-9a-f]{{{KEY_LENGTH}}})-[0-9a-f]{{{_CHECK_LENGTH}}}"
)


def pod_name(prefix: str, installation: str, key: str) -> str:
    """Return the name of all pods of an installation's job ``key``."""
    stem = f"{prefix}-{installation}-{key}"
    name = f"{stem}-{_check(stem)}"
    assert len(name) <= NAME_LENGTH, name
    assert key_of(prefix, installation, name) == key, name
    return name


def key_of(prefix: str, installation: str, name: str) -> str | None:
    """Return the job key in a pod's name; ``None`` if the pod is not of this installation."""
    return key if (key := _key(name)) and name.startswith(f"{prefix}-{installation}-") else None


def is_made_here(name: str) -> bool:
    """Return whether this program generated the name of a pod, for any installation: format and checksum match. Names
    of earlier versions, which a person could have typed, do not count."""
    return _key(name) is not None


def _key(name: str) -> str | None:
    found = _SHAPE.fullmatch(name)
    stem, _, check = name.rpartition("-")
    return found[1] if found and check == _check(stem) else None


def _check(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()[:_CHECK_LENGTH]
