"""What is installed: by hashes, from no named place, and listed with its licence."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bizcharts_pipeline.autolabel.errors import SdkMissing
from bizcharts_pipeline.autolabel.providers import require_sdks
from tools.requirements import EXTRAS, ROOT, TORCH, installed, needed
from tools.sbom import UNKNOWN, bill, components, home_page, licences

LOCKS = {"": "requirements.lock", **{extra: f"requirements-{extra}.lock" for extra in EXTRAS}}
_BLOCK = re.compile(r"([a-z0-9-]+)==([^\s;]+)( ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


def pins(lock: str) -> dict[str, str]:
    return {name: version for name, version, _, _ in _BLOCK.findall((ROOT / lock).read_text())}


@pytest.mark.parametrize("lock", LOCKS.values())
def test_a_lock_file_has_versions_and_hashes_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    head, _, rest = text.partition("\n")
    assert head.startswith("# ")
    assert _BLOCK.sub("", rest) == ""
    assert not re.search(r"https?:|index|find-links|@ ", rest)


@pytest.mark.parametrize("extra", LOCKS)
def test_a_lock_file_holds_all_that_its_extra_needs_in_the_versions_that_the_tests_ran_with(extra: str) -> None:
    found = installed()
    locked = pins(LOCKS[extra])
    assert sorted(locked) == needed(found)[extra]
    assert locked == {name: found[name].version for name in locked}


def test_what_the_project_asks_for_fits_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, texts in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for requirement in map(Requirement, texts):
            name = canonicalize_name(requirement.name)
            if name not in (TORCH, "bizcharts"):
                version = {**pins(LOCKS[""]), **pins(LOCKS[extra])}.get(name)
                assert version, f"{name} of {extra!r}"
                assert requirement.specifier.contains(version, prereleases=True)


def test_a_plain_installation_has_no_sdk_of_a_paid_service() -> None:
    assert not {"openai", "google-genai", "runpod", TORCH} & set(pins(LOCKS[""]))


def test_an_sdk_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_sdks(("openai", "gemini"))
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(SdkMissing, match="make install-auto-labels") as error:
        require_sdks(("openai", "gemini"))
    assert "\n" not in str(error.value)
    assert "genai" not in str(error.value)


def test_every_package_is_in_the_bill_of_materials_with_a_licence() -> None:
    locked = {name: version for lock in LOCKS.values() for name, version in pins(lock).items()}
    made = json.loads(json.dumps(bill()))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    listed = {each["name"]: each["version"] for each in made["components"]}
    assert {name: version for name, version in listed.items() if name != TORCH} == locked
    assert {each["purl"] for each in made["components"]} == {f"pkg:pypi/{n}@{v}" for n, v in listed.items()}
    assert UNKNOWN not in licences()
    assert f"| {TORCH} |" in licences()


def test_a_package_without_a_home_is_named_in_the_documentation() -> None:
    documented = (ROOT / "docs" / "dependencies.md").read_text()
    for name, package, _ in components():
        if not home_page(package):
            assert f"`{name}`" in documented


def test_nothing_is_installed_but_from_a_lock_file_or_as_the_pinned_torch() -> None:
    for file in ("Makefile", "deploy/compose.yaml", "deploy/Dockerfile", "README.md", "docs/training-flow.md"):
        for line in Path(ROOT / file).read_text().splitlines():
            if "pip install" in line or "$(PIP) install" in line:
                allowed = ("--require-hashes", "--no-deps --no-build-isolation", "$(TORCH)", "build/lock/")
                assert any(words in line for words in allowed), line


def test_the_hosted_checks_run_nothing_but_the_commands_of_this_repository() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    commands = re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert ".ci/run" in commands
    for command in commands:
        program, *words = command.split()
        if program == "make":
            assert set(words) <= {word for line in targets for word in line.split()}, command
        else:
            assert os.access(ROOT / program, os.X_OK), command


def test_a_hint_how_to_install_something_names_a_target_of_the_makefile() -> None:
    """`pip install 'bizcharts[ml]'` finds nothing, as the package is in no index."""
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*): ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {word for line in targets for word in line.split()}
    hints = set()
    for folder in ("bizcharts_pipeline", "assets", "resources", "jobs", "schedules", "docs"):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")]:
            text = path.read_text()
            assert "pip install" not in text, path
            hints |= set(re.findall(r"make (install-[a-z-]+)", text))
    assert {
        "install-alerts",
        "install-app",
        "install-auto-labels",
        "install-lab",
        "install-lake",
        "install-ml",
        "install-noise",
        "install-ocr",
        "install-pods",
    } == hints
    assert hints <= known
