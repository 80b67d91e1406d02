"""Writes the licence list and the software bill of materials of the packages that are installed here.

Run: ``python -m tools.sbom licences`` or ``python -m tools.sbom sbom``; both print to stdout. The bill is CycloneDX 1.6
(https://cyclonedx.org/specification/overview/) without a time stamp, so that the same packages give the same file.
"""

import json
import sys
from importlib.metadata import Distribution
from typing import Any

from packaging.utils import canonicalize_name

from tools.requirements import PROJECT, TORCH, installed, needed

UNKNOWN = "unknown"
_CLASSIFIER = "License :: "
_MAX_LICENCE_CHARACTERS = 80  # some put the whole text there
# Whose metadata names no licence, by what their files say.
SAID_ELSEWHERE = {"axe-playwright-python": "MIT AND MPL-2.0", "cleanlab": "Apache-2.0"}


def _field(package: Distribution, name: str) -> str:
    return next(iter(package.metadata.get_all(name) or []), "")


def licence(package: Distribution) -> str:
    """Return what a package's metadata says of its licence, on one line."""
    metadata = package.metadata
    if expression := _field(package, "License-Expression"):
        return expression
    named = [value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier") or [] if _CLASSIFIER in value]
    text = _field(package, "License").strip()
    if text and "\n" not in text and len(text) <= _MAX_LICENCE_CHARACTERS and text.upper() != "UNKNOWN":
        return text
    return ", ".join(named) or SAID_ELSEWHERE.get(canonicalize_name(metadata["Name"]), UNKNOWN)


def home_page(package: Distribution) -> str:
    """Return where a package says that it is at home; empty where it does not."""
    urls = [value.partition(",")[2].strip() for value in package.metadata.get_all("Project-URL") or []]
    return _field(package, "Home-page") or next(iter(urls), "")


def components() -> list[tuple[str, Distribution, str]]:
    """Return name, package and the extra that brings it (empty: a plain installation), sorted."""
    found = installed()
    groups = needed(found)
    members = [(name, found[name], extra) for extra, names in groups.items() for name in names]
    if TORCH in found:
        members.append((TORCH, found[TORCH], "ml"))
    return sorted(members, key=lambda member: member[0])


def licences() -> str:
    """Return the licence list as a Markdown table."""
    rows = [f"| {name} | {package.version} | {licence(package)} | {extra} |" for name, package, extra in components()]
    return "\n".join(["| package | version | licence | extra |", "| --- | --- | --- | --- |", *rows, ""])


def bill() -> dict[str, Any]:
    """Return the bill of materials as CycloneDX JSON."""
    listed = []
    for name, package, extra in components():
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{package.version}",
            "name": name,
            "version": package.version,
            "purl": f"pkg:pypi/{name}@{package.version}",
            "scope": "optional" if extra else "required",
            "licenses": [{"license": {"name": licence(package)}}],
        }
        if page := home_page(package):
            component["externalReferences"] = [{"type": "website", "url": page}]
        listed.append(component)
    project = installed()[PROJECT]
    main = {"type": "application", "bom-ref": PROJECT, "name": PROJECT, "version": project.version}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": main}} | {
        "components": listed
    }


if __name__ == "__main__":
    sys.stdout.write(licences() if sys.argv[1] == "licences" else json.dumps(bill(), indent=1) + "\n")
