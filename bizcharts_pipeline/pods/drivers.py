"""Minimum NVIDIA driver of a CUDA version: the first branch that supports it (NVIDIA, CUDA Toolkit release notes)."""

import re
from collections.abc import Iterable

_BRANCHES = {  # CUDA version: driver branch
    (11, 0): 450,
    (11, 1): 455,
    (11, 2): 460,
    (11, 3): 465,
    (11, 4): 470,
    (11, 5): 495,
    (11, 6): 510,
    (11, 7): 515,
    (11, 8): 520,
    (12, 0): 525,
    (12, 1): 530,
    (12, 2): 535,
    (12, 3): 545,
    (12, 4): 550,
    (12, 5): 555,
    (12, 6): 560,
    (12, 8): 570,
    (12, 9): 575,
    (13, 0): 580,
    (13, 1): 590,
}
_CUDA = re.compile(r"(\d{1,3})(?:\.(\d{1,3}))?")
_DRIVER = re.compile(r"(\d{3,4})(\.\d+){1,3}")


def min_branch(cuda: Iterable[str]) -> int | None:
    """Return the oldest NVIDIA driver branch, for a pod's host, that supports one of these CUDA versions, such as 580
    for '13.0'; ``None`` if any does. For a version newer than the known ones, the newest known branch is returned."""
    wanted = [(int(found[1]), int(found[2] or 0)) for found in map(_CUDA.fullmatch, cuda) if found]
    if not wanted:
        return None
    return max((branch for version, branch in _BRANCHES.items() if version <= min(wanted)), default=None)


def is_older(driver: str | None, branch: int) -> bool:
    """Return whether the NVIDIA driver of a pod's host, such as '535.183.01', is older than a branch; an unknown
    driver is not."""
    found = _DRIVER.fullmatch(driver or "")
    return found is not None and int(found[1]) < branch
