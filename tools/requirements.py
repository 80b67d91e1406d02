"""What an installation is made of, read from the project's metadata and from the packages that are installed here."""

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "bizcharts"
TORCH = "torch"  # its wheels for CPU and for CUDA are different files under one version
EXTRAS = ("alerts", "app", "auto-labels", "lab", "lake", "ml", "pods", "noise", "ocr", "test")


def installed() -> dict[str, Distribution]:
    """Return the packages of this environment by canonical name."""
    return {canonicalize_name(each.metadata["Name"]): each for each in distributions()}


def needed(found: dict[str, Distribution]) -> dict[str, list[str]]:
    """Return the packages of a plain installation under ``""``, and under each extra those that it adds.

    The test extra has what no other has. Only packages that are installed here count, so all extras must be.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    plain = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    extras = project["project"]["optional-dependencies"]
    base = _closure(plain, found)
    groups = {"": base} | {name: _closure(extras[name], found) - base for name in EXTRAS}
    others = set[str]().union(*(groups[name] for name in EXTRAS if name != "test"))
    groups["test"] -= others
    return {name: sorted(members - {TORCH, PROJECT}) for name, members in groups.items()}


def _closure(requirements: Iterable[str], found: dict[str, Distribution]) -> set[str]:
    members: set[str] = set()
    pending = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name == PROJECT or name not in found:  # a marker of another system, or an extra that names the project
            continue
        members.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                pending += _requirements_of(found[name], wanted)
    return members


def _requirements_of(package: Distribution, extra: str) -> Iterator[tuple[Requirement, str]]:
    for text in package.requires or ():
        yield Requirement(text), extra
